// What the sheet says of one call. Its prompt, its answer and its error are shown as plain text.

import { bar } from "./bars.js";
import { endOf, estimated, explained, noteOf, phases, who } from "./calls.js";
import { showContent } from "./content.js";
import { fill, find, mark, say, show } from "./dom.js";
import { clock, epoch, n, none, number, seconds, size, speed, unknown, visible } from "./format.js";
import { t } from "./i18n.js";
import { showHeaders } from "./headers.js";
import { insightsOf } from "./insights.js";
import { moreOf } from "./more.js";
import { showInForce } from "./in-force.js";
import { drawPace } from "./pace.js";
import { beside, short } from "./short.js";

const OLLAMAS = ["http_status", "error_in_stream", "model_missing", "runner_died", "out_of_memory", "context_exceeded", "busy"];

/** A text of several lines, in which nothing can turn the others round. */
const lines = (text) => text.split("\n").map(visible).join("\n");

/** Fills the sheet with `call`, as REST tells it. */
export function showCall(sheet, body, call) {
  mark(find(".state", body), call.state);
  show(find(".stop", body), call.state === "running");
  const state = t(`state.${call.state}`);
  const head = { ...who(call), state, note: noteOf(call), total: seconds(call.duration), short: short(call) };
  fill(sheet, { ...head, ...explained(call, { total: head.total, ...numbers(call) }) });
  const unread = call.not_understood;
  fill(sheet, { id: call.id, unread: n("call.not_understood", unread) });
  show(document.getElementById("call-unread"), unread > 0);
  show(document.getElementById("call-untimed"), call.duration === null);
  showError(sheet, call);
  showMore(body, call);
  document.getElementById("call-beside").href = beside(call);
  waterfall(body, call);
  drawPace(document.getElementById("call-pace"), call);
  showInForce(document.getElementById("call-in-force"), call);
  const options = call.options && JSON.stringify(call.options, null, 2);
  showContent(body, "options", options ?? null);
  showContent(body, "prompt", call.prompt);
  showContent(body, "response", call.response);
  showHeaders(document.getElementById("call-headers"), call);
}

/** Why it failed: the proxy's own reasons in the page's language, and what was recorded as a quotation. */
function showError(sheet, call) {
  const ours = call.reason !== null && !OLLAMAS.includes(call.reason) && call.reason !== "incomplete";
  const why = ours ? t(`call.why.${call.reason}`) : "";
  const words = call.error ? t(ours ? "call.error.recorded" : "call.error.ollama") : "";
  fill(sheet, { why, error_words: words, error: lines(call.error ?? "") });
  const box = document.getElementById("call-error-box");
  show(box, Boolean(why || call.error));
  show(find("pre", box), Boolean(call.error));
}

function numbers(call) {
  const counted = (value) => (value === null ? unknown() : number(value));
  const none_ = none(t("unknown"));
  const guess = call.output_tokens_estimated;
  const start = clock(epoch(call.started_at));
  const end = call.state === "running" ? t("axis.now") : clock(endOf(call));
  return {
    started: call.duration === null ? t("call.no_end", { time: start }) : `${start} \u2013 ${end}`,
    request: visible(`${call.method} ${call.path}`),
    first: seconds(call.time_to_first_token),
    tokens_in: counted(call.input_tokens),
    tokens_out: guess === null ? counted(call.output_tokens) : estimated(guess),
    pieces: counted(call.output_chunks),
    speed: call.tokens_per_second === null ? none_ : `${speed(call.tokens_per_second)} ${t("unit.tok_s")}`,
    status: call.status_code === null ? none_ : String(call.status_code),
    stop: call.done_reason === null ? none_ : visible(call.done_reason),
    bytes: call.duration === null ? none_ : `${size(call.request_bytes)}, ${size(call.response_bytes)}`,
  };
}

/** Numbers that not every call has: those without one are not shown. */
function showMore(body, call) {
  const known = { ...moreOf(call), ...insightsOf(call) };
  for (const line of body.querySelectorAll("[data-more]")) {
    const text = known[line.dataset.more] ?? "";
    show(line, text !== "");
    fill(line, { [line.dataset.more]: text });
  }
}

function waterfall(body, call) {
  const parts = new Map();
  let from = 0;
  for (const [kind, value] of phases(call)) {
    parts.set(kind, [from, value]);
    from += value;
  }
  for (const line of body.querySelectorAll("[data-phase]")) {
    const kind = line.dataset.phase;
    const part = parts.get(kind);
    show(line, part !== undefined);
    if (!part) continue;
    const [start, value] = part;
    const at = (moment) => (from ? (moment / from) * 100 : 0);
    bar(find("svg", line), [[kind, at(start), at(start + value)]]);
    const spent = seconds(value);
    say(find(".num", line), kind === "queue" ? t("estimate", { s: spent }) : spent);
  }
}
