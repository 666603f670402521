// What the page says of the proxy and of Ollama behind it. The same rules as in rows.py.

import { endOf, noteOf } from "./calls.js";
import { BAD } from "./facts.js";
import { ago, clock, epoch, n, name, number, seconds, since, visible } from "./format.js";
import { around, t } from "./i18n.js";

const WINDOW = 300; // seconds: the status says "failing" of as many
const MISSED = "requests?insight=outage&since=1h"; // the calls that did not reach it lately
const UNREACHED = ["upstream_unreachable", "connect_timeout"]; // as exchange.py has them

/** Whether something answers that is not Ollama. */
const stranger = (status) => status.upstream_up && status.upstream_version === null;

/** The sign of the status line: its word, or `waiting` where calls wait long though it works. */
export const health = ({ status, waiting }) => (status === "working" && waiting ? "waiting" : status);

/** The state's word; where calls wait long, how many, for how long, and behind whom. */
function healthWords(status) {
  const { waiting } = status;
  if (health(status) !== "waiting") return t(`health.${status.status}`);
  const [client] = [name(waiting.behind ?? t("finding.client.unknown"))].flat();
  return n("health.waiting", waiting.calls, { s: seconds(waiting.seconds), client });
}

export function statusLine(status, now) {
  let answers = t("line.unasked");
  if (stranger(status)) {
    answers = t("line.stranger");
  } else if (status.upstream_up && status.upstream_latency !== null) {
    const version = visible(status.upstream_version ?? "");
    answers = t("line.answers", { version, s: seconds(status.upstream_latency) });
  } else if (status.upstream_up === false) {
    answers = since(downSince(status), now);
  }
  const { last_call_at: last, active_requests: running } = status;
  const stops = status.status === "stopping";
  return {
    health: healthWords(status),
    answers,
    running: stops ? t("line.ending", { n: number(running) }) : n("line.running", running),
    last: last ? t("line.last", { ago: ago(epoch(last), now) }) : t("line.no_call"),
  };
}

const downSince = (status) => epoch(status.upstream_since ?? status.started_at);

function caused(key, cause, values) {
  if (!cause) return { text: t(key, { ...values, reason: t("cause.unknown") }), cause: "", end: "" };
  const [text, end] = around(key, "reason", values);
  return { text, cause: visible(cause), end };
}

/** When Ollama is known to have answered: since it was found up, or the last of these calls. */
function answered(status, ended) {
  const calls = ended.filter((call) => call.time_to_first_byte !== null);
  return Math.max(downSince(status), ...calls.map(endOf));
}

/** Why the listed calls failed, with how many: the most frequent first. */
function failures(failed) {
  const counts = new Map();
  for (const call of failed) {
    const why = noteOf(call) || t("cause.unknown");
    counts.set(why, (counts.get(why) ?? 0) + 1);
  }
  return [...counts].sort(([, a], [, b]) => b - a);
}

/** What must be said above everything. A cause is English: it stands apart in its sentence. */
export function notices(status, recent, now) {
  const said = [];
  if (status.status === "down") {
    const told = { address: visible(status.upstream), since: since(downSince(status), now) };
    const row = caused("notice.down", status.upstream_error, told);
    said.push({ id: "down", ...row, advice: t("notice.down_check") });
  }
  if (stranger(status)) {
    const row = caused("notice.stranger", status.upstream_error, { address: visible(status.upstream) });
    said.push({ id: "stranger", ...row, advice: t("notice.stranger_check") });
  }
  const ended = recent.filter((call) => call.duration !== null && endOf(call) > now - WINDOW);
  const failed = ended.filter((call) => BAD.includes(call.state));
  const missed = failed.filter((call) => UNREACHED.includes(call.reason));
  const last = Math.max(...missed.map(endOf));
  const over = status.upstream_up && answered(status, ended) >= last ? missed : [];
  if (over.length) {
    const link = { href: MISSED, link: t("notice.was_down_calls") };
    said.push({ id: "was_down", text: t("notice.was_down", { time: clock(last) }), ...link });
  }
  const reasons = status.status === "failing" ? failures(failed.filter((call) => !over.includes(call))) : [];
  if (reasons.length) {
    const all = reasons.reduce((sum, [, count]) => sum + count, 0);
    said.push({ id: "failing", text: n("notice.failing", all, { reason: reasons[0][0] }) });
  }
  if (status.storage_error) {
    const told = { since: since(epoch(status.storage_error_since ?? status.started_at), now) };
    said.push({ id: "storage", ...caused("notice.not_saved", status.storage_error, told) });
  }
  if (status.records_dropped) said.push({ id: "dropped", text: n("notice.dropped", status.records_dropped) });
  return said;
}

export function title(status, product, lost) {
  const running = status.active_requests ? `(${status.active_requests}) ` : "";
  if (lost) return `! ${t("health.lost")} \u2013 ${product}`;
  const trouble = ["failing", "stopping", "down"].includes(status.status);
  return `${running}${trouble ? `! ${t(`health.${status.status}`)} \u2013 ` : ""}${product}`;
}

const counted = (whole) => (whole < 60 ? t("time.s", { n: whole }) : seconds(whole));

export const asOf = (moment) => t("line.as_of", { time: clock(moment) });

export function lostLine(silence, wait, lastData) {
  return {
    health: t("line.lost", { s: counted(Math.floor(silence)) }),
    answers: t("line.silent"),
    running: wait > 0 ? t("line.retry", { r: counted(Math.ceil(wait)) }) : t("line.trying"),
    last: asOf(lastData),
  };
}
