// Options that held for a call beside those that it asked for; what is not known says so.

import { ranModel } from "./calls.js";
import { fill, show } from "./dom.js";
import { number, seconds, visible } from "./format.js";
import { t } from "./i18n.js";

export function showInForce(place, call) {
  const answered = call.state === "completed" && call.model !== null && ranModel(call);
  show(place, answered);
  if (!answered) return;
  const asked = call.options ?? {};
  const held = call.in_force ?? {};
  fill(place, {
    held_num_ctx: told(held.num_ctx, asked.num_ctx, (value) => number(value)),
    held_num_gpu: told(held.num_gpu, asked.num_gpu, (value) => (value === null ? t("call.held.ollama") : number(value))),
    held_keep_alive: told(held.keep_alive, asked.keep_alive, (value) => (value < 0 ? t("call.held.ever") : seconds(value))),
  });
}

function told(held, asked, write) {
  if (asked === undefined || asked === null) return held === undefined ? t("call.held.unknown") : write(held);
  const wanted = visible(String(asked));
  if (held === undefined) return t("call.held.unknown_asked", { asked: wanted });
  return String(held) === String(asked) ? t("call.held.as_asked", { held: write(held) }) : t("call.held.asked", { held: write(held), asked: wanted });
}
