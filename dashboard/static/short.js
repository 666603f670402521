// A call in one sentence: where its time went, and for whom it waited most; and what ran beside it.

import { phases } from "./calls.js";
import { epoch, n, number, seconds, visible } from "./format.js";
import { t } from "./i18n.js";

const SHARE = 0.05; // of the whole: less is not worth a word

/** Where the time went, and what Ollama cut of the prompt. */
export function short(call) {
  return [spent(call), cut(call)].filter(Boolean).join(" ");
}

function cut({ insights, state, input_tokens: kept }) {
  const told = insights?.prompt_cut;
  if (state === "running" || !told?.cut) return "";
  if (told.tokens_lost === null) return t("short.cut");
  const lost = number(told.tokens_lost);
  const about = told.estimated ? t("short.cut.about", { n: lost }) : lost;
  if (kept === null) return n("short.cut.lost", told.tokens_lost, { lost: about });
  return t("short.cut.of", { lost: about, all: number(told.tokens_lost + kept) });
}

/** Nothing of a call whose duration is not known. */
function spent(call) {
  if (call.duration === null || call.state === "running") return "";
  if (neverBegan(call)) return call.state === "completed" ? "" : t(`short.until.${call.state}`, { s: seconds(call.duration) });
  const parts = phases(call).filter(([, value]) => value >= SHARE * call.duration);
  const told = parts.map(([kind, value]) => part(kind, value, call));
  const total = { s: seconds(call.duration) };
  return told.length ? t("short.all", { ...total, parts: told.join(", ") }) : "";
}

/** Whether no answer of a model was seen to begin, so that its time has no parts. */
const neverBegan = (call) => phases(call).every(([kind]) => kind === "before") && call.time_to_first_token === null;

/** The page of the calls that ran while this one did, the longest first: who held the model is among them. */
export function beside(call) {
  const began = epoch(call.started_at);
  const until = call.state === "running" ? "" : `&until=${(began + (call.duration ?? 0) + 0.001).toFixed(3)}`;
  return `requests?ended_after=${began.toFixed(3)}${until}&sort=duration`;
}

function part(kind, value, call) {
  const s = seconds(value);
  if (kind !== "queue" || !call.waited_for?.length) return t(`short.${kind}`, { s });
  const client = visible(call.waited_for[0].client ?? t("finding.client.unknown"));
  return t("short.queue.for", { s, client });
}
