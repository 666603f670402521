// What a call's row says in columns that not every list has, and by what it is marked.
// The same rules as in columns.py.

import { name, none, seconds, size } from "./format.js";
import { t } from "./i18n.js";

const GROUPS = ["reload", "slow"]; // several kinds of findings each
const UNMARKED = ["left", "model_missing", "outage"]; // the call's reason says as much
const MOST_MARKS = 2;

const about = (text) => t("estimate", { s: text });

export function moreCells(call) {
  const used = call.resources ?? {};
  const cpu = used.cpu_seconds ?? null;
  return {
    found: marks(call),
    wait: call.queue ? about(seconds(call.queue)) : seconds(call.queue),
    load: seconds(call.load),
    prefill: seconds(call.prefill),
    decode: seconds(call.decode),
    cpu: cpu === null ? none(t("cpu.unknown")) : used.estimated ? about(seconds(cpu)) : seconds(cpu),
    size: t("tokens.in_out", { i: size(call.request_bytes), o: size(call.response_bytes) }),
    path: name(call.path),
  };
}

/** What was found of a call, the worst first, in two words at the most. */
function marks(call) {
  const told = (call.found ?? []).filter((kind) => !UNMARKED.includes(kind));
  const words = new Set(told.map((kind) => t(`mark.${GROUPS.find((one) => kind.startsWith(`${one}_`)) ?? kind}`)));
  return [...words].slice(0, MOST_MARKS).join(" \u00b7 ");
}
