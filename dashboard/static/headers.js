// The headers of a call as they passed: every name, and the values that were kept.

import { fill, find, show } from "./dom.js";
import { n, visible } from "./format.js";
import { t } from "./i18n.js";

export function showHeaders(place, call) {
  const { headers } = call;
  const sides = { request: headers?.request ?? null, response: headers?.response ?? null };
  const count = (sides.request?.length ?? 0) + (sides.response?.length ?? 0);
  show(find("details", place), headers !== null);
  show(find(".empty", place), headers === null);
  fill(place, {
    headers_count: headers === null ? "" : n("call.headers.count", count),
    headers_none: t(call.state === "running" ? "call.headers.later" : "call.headers.none"),
  });
  for (const [side, pairs] of Object.entries(sides)) {
    const part = find(`[data-side=${side}]`, place);
    show(part, pairs !== null);
    find("dl", part).replaceChildren(...(pairs ?? []).map(([name, value]) => row(name, value)));
  }
}

function row(name, value) {
  const line = document.createElement("div");
  const term = document.createElement("dt");
  const told = document.createElement("dd");
  term.textContent = visible(name);
  told.textContent = value === null ? t("call.headers.not_kept") : visible(value);
  told.classList.toggle("quiet", value === null);
  line.append(term, told);
  return line;
}
