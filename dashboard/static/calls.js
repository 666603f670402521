// What a call's row says. The same rules as in rows.py, which writes the first rows.

import { moreCells } from "./columns.js";
import { clock, epoch, n, name, none, number, seconds, speed, unknown, when } from "./format.js";
import { t } from "./i18n.js";

export const LEAST = 0.0005; // seconds: less is written as 0 ms
let paths = { model: [] };

/** How the paths end that run a model: exchange.py has them. */
export function learn(known) {
  paths = known;
}

const goesTo = (call, ends) => ends.some((end) => call.path.endsWith(end));

export const ranModel = (call) => goesTo(call, paths.model);

export const endOf = (call) => epoch(call.started_at) + (call.duration ?? 0);

/**
 * The call's time by phase, in order; what Ollama did not report is "before" or "unknown".
 * None of a call whose end nobody saw: its duration is not known.
 */
export function phases(call) {
  const total = call.duration;
  if (total === null) return [];
  if (call.prefill === null && call.decode === null && call.load === null) {
    const first = call.time_to_first_token;
    return first === null
      ? [["before", total]]
      : [["before", first], ["decode", Math.max(0, total - first)]];
  }
  const known = ["queue", "load", "prefill", "decode"]
    .map((kind) => [kind, call[kind]])
    .filter(([, value]) => value >= LEAST);
  const rest = total - known.reduce((sum, [, value]) => sum + value, 0);
  if (call.decode === null && rest >= LEAST) known.push(["unknown", rest]);
  return known;
}

function spelled(parts) {
  return parts
    .map(([kind, value]) =>
      t(kind === "queue" ? "phase.estimated" : "phase.measured", {
        phase: t(`phase.${kind}`),
        s: seconds(value),
      }),
    )
    .join(", ");
}

export function who(call) {
  let model = call.model ?? `${call.method} ${call.path}`;
  if (call.model !== null && !ranModel(call)) model += ` · ${call.path}`;
  // Of several calls of one client each has a name of its own, for those who hear it.
  const about = `, ${[name(model)].flat().at(-1)}, ${clock(epoch(call.started_at))}`;
  return { client: name(call.client ?? t("client.unknown")), model: name(model), about };
}

/** What a final state's word leaves open. */
export function noteOf(call) {
  if (call.reason === "http_status") return t("note.status", { code: call.status_code });
  if (call.reason) return t(`reason.${call.reason}`);
  return call.done_reason === "length" ? t("note.limit") : "";
}

/** The same texts: of what is not known why, where it is not that Ollama did not report it. */
export function explained(call, row) {
  const blamed = (text) => Array.isArray(text) && text[1] === t("unknown");
  return Object.fromEntries(Object.entries(row).map(([key, text]) => [key, blamed(text) ? none(t(untold(call, key))) : text]));
}

/** Why the fact with this key of a row is not known: a word of the catalogues. */
function untold(call, key) {
  if (call.state === "running") return "unknown.running";
  if (call.duration === null) return "unknown.end";
  if (call.state !== "completed" && call.time_to_first_byte === null) return "unknown.unanswered";
  if (!ranModel(call)) return "unknown.no_model";
  if (["first", "pieces"].includes(key)) {
    if (call.streamed === false) return "unknown.unstreamed";
    if (call.state !== "completed") return "unknown.before";
  }
  return "unknown";
}

/** An estimate by the pieces that passed, and in words that it is one. */
export const estimated = (count) => [t("about", { n: number(count) }), n("tokens.estimated", count)];

/** In and out; where Ollama told none of them, out by the pieces that passed. */
function tokens(call) {
  const count = (value) => (value === null ? "\u2013" : number(value));
  const guess = call.output_tokens_estimated;
  if (call.input_tokens !== null || call.output_tokens !== null) {
    return t("tokens.in_out", { i: count(call.input_tokens), o: count(call.output_tokens) });
  }
  if (guess === null) return unknown();
  const [about, words] = estimated(guess);
  return [t("tokens.in_out", { i: count(null), o: about }), words];
}

export function callRow(call, now) {
  return {
    ...who(call),
    ...explained(call, cells(call, now)),
  };
}

function cells(call, now) {
  return {
    started: when(epoch(call.started_at), now),
    ended: call.duration === null ? unknown() : when(endOf(call), now),
    state: t(`state.${call.state}`),
    note: noteOf(call),
    phases: spelled(phases(call)),
    total: seconds(call.duration),
    first: seconds(call.time_to_first_token),
    tokens: tokens(call),
    speed: speed(call.tokens_per_second),
    ...moreCells(call),
  };
}

/** The phase's word, and whether it is inferred; of a call that has only begun none is known. */
export function phaseWords(call) {
  const place = call.queue_position ?? null;
  const inferred = call.phase_estimated ? t("estimated") : "";
  return {
    phase: t(`running.${call.phase ?? "waiting"}`),
    note: place === null ? inferred : t("running.place", { n: number(place) }),
  };
}

/** A running call. Pieces are counted; a piece is not a token. */
export function runningRow(call, elapsed) {
  const first = call.time_to_first_token;
  const counted = first !== null && call.output_chunks > 0;
  const writing = (call.duration ?? 0) - first;
  return {
    ...who(call),
    ...phaseWords(call),
    pieces: counted ? number(call.output_chunks) : "",
    rate: counted && writing >= 1 ? speed(call.output_chunks / writing) : "",
    first: counted ? seconds(first) : "",
    elapsed: seconds(elapsed, true),
  };
}

/** A call that has just ended, where it ran. */
export function endedRow(call) {
  const chunks = call.output_chunks;
  return {
    ...who(call),
    phase: t(`state.${call.state}`),
    note: noteOf(call),
    pieces: chunks ? number(chunks) : "",
    rate: "",
    first: chunks ? seconds(call.time_to_first_token) : "",
    elapsed: seconds(call.duration),
  };
}

/** A percentile, or why there is none: below 5 calls, for p90 and p95 20, for p99 100. */
export function percentile(spread, key, write) {
  const count = spread?.count ?? 0;
  if (count === 0) return none(t("none_measured"));
  const least = { p50: 5, p99: 100 }[key] ?? 20;
  return count < least ? none(n("few", count)) : write(spread[key]);
}
