// What the page says of the proxy and of each model. The same rules as in rows.py.

import { percentile } from "./calls.js";
import { ago, at, clock, compact, epoch, n, name, none, number, percent, seconds, since, size, speed, unknown, visible } from "./format.js";
import { around, t } from "./i18n.js";

const YEAR = 365 * 86400;
const BAD = ["failed", "timeout", "interrupted"];

/** One spelling for all of a model's, as admin/query.py has it. */
export function modelKey(text) {
  const key = text.toLowerCase().replace(/^registry\.ollama\.ai\//, "").replace(/^library\//, "");
  return key.split("/").at(-1).includes(":") ? key : `${key}:latest`;
}

export function modelKind(model) {
  return model.loaded ? "loaded" : model.available ? "disk" : "gone";
}

function share(model) {
  const part = (model.size_vram / model.size_loaded) * 100;
  if (part >= 99.95) return t("share.gpu");
  return part > 0 ? t("share.part", { p: percent(part) }) : t("share.cpu");
}

function expires(model, now) {
  const left = epoch(model.expires_at) - now;
  if (!model.loaded || Number.isNaN(left) || left < -60) return "";
  if (left > YEAR) return t("expires.never");
  if (left < 60) return t("expires.soon");
  if (left < 5400) return t("expires.min", { n: Math.floor(left / 60) });
  return t("expires.at", { at: at(now + left, now) });
}

export function modelRow(model, now) {
  const summary = model.stats ?? {};
  const bad = BAD.reduce((sum, key) => sum + (summary[key] ?? 0), 0);
  const whole = model.size_loaded;
  const away = none(t("kind.disk"));
  return {
    model: name(model.name),
    about: [model.parameter_size, model.quantization].filter(Boolean).map(visible).join(" · "),
    now: t(`kind.${modelKind(model)}`),
    expires: model.expires_at ? expires(model, now) : "",
    memory: !model.loaded ? away : whole ? size(whole) : unknown(),
    share: model.loaded && whole && model.size_vram !== null ? share(model) : "",
    context: model.context_length ? number(model.context_length) : away,
    calls: number(summary.requests ?? 0),
    failed: bad ? n("failed", bad) : "",
    first: percentile(summary.time_to_first_token, "p50", seconds),
    decode: percentile(summary.tokens_per_second, "p50", speed),
    total: percentile(summary.duration, "p50", seconds),
  };
}

/** What a model occupies, in one line over its running calls. */
export function occupies(model, now) {
  if (!model) return "";
  const row = modelRow(model, now);
  const context = Array.isArray(row.context) ? "" : t("context.of", { n: row.context });
  return [row.now, row.memory, row.share, context, row.expires]
    .filter((text) => text && !Array.isArray(text))
    .join(" · ");
}

export function numbers(status, models, now) {
  const ended = status.total_requests - status.active_requests;
  const bad = BAD.reduce((sum, key) => sum + status[`${key}_requests`], 0);
  return {
    uptime: seconds(Math.floor(status.uptime)),
    uptime_note: since(epoch(status.started_at), now),
    active: number(status.active_requests),
    active_note: n("loaded", models.filter((model) => model.loaded).length),
    requests: compact(status.total_requests),
    requests_note: n("completed", status.completed_requests),
    models: status.models_available === null ? unknown() : number(status.models_available),
    models_note: t("models.note"),
    success: status.success_rate === null ? none(t("none_yet")) : percent(status.success_rate),
    success_note: n("not_completed", bad, { m: number(ended) }),
    tokens: compact(status.total_tokens),
    tokens_note: t("tokens.note", { i: compact(status.input_tokens), o: compact(status.output_tokens) }),
  };
}

export function summaryRow(summary) {
  const bad = BAD.reduce((sum, key) => sum + summary[key], 0);
  const ended = summary.requests;
  const row = {
    requests: number(ended),
    failed: number(bad),
    failed_note: bad ? t("share.of", { p: percent((bad / ended) * 100), m: number(ended) }) : "",
    cancelled: number(summary.cancelled),
    first_p50: percentile(summary.time_to_first_token, "p50", seconds),
    first_p95: percentile(summary.time_to_first_token, "p95", seconds),
    decode_p50: percentile(summary.tokens_per_second, "p50", speed),
    count: n("sample", summary.duration?.count ?? 0),
  };
  for (const key of ["p50", "p90", "p95", "p99"]) {
    row[`duration_${key}`] = percentile(summary.duration, key, seconds);
  }
  for (const kind of ["queue", "load", "prefill", "decode"]) {
    const spent = seconds(summary[`${kind}_seconds`]);
    row[`spent_${kind}`] = kind === "queue" ? t("estimate", { s: spent }) : spent;
  }
  return row;
}

export function statusLine(status, now) {
  let answers = t("line.unasked");
  if (status.upstream_up && status.upstream_latency !== null) {
    const version = visible(status.upstream_version ?? "");
    answers = t("line.answers", { version, s: seconds(status.upstream_latency) });
  } else if (status.upstream_up === false) {
    answers = since(downSince(status), now);
  }
  const last = status.last_call_at;
  return {
    health: t(`health.${status.status}`),
    answers,
    running: n("line.running", status.active_requests),
    last: last ? t("line.last", { ago: ago(epoch(last), now) }) : t("line.no_call"),
  };
}

const downSince = (status) => epoch(status.upstream_since ?? status.started_at);

function caused(key, cause, values) {
  if (!cause) return { text: t(key, { ...values, reason: t("cause.unknown") }), cause: "", end: "" };
  const [text, end] = around(key, "reason", values);
  return { text, cause: visible(cause), end };
}

/** What must be said above everything. A cause is English: it stands apart in its sentence. */
export function notices(status, now) {
  const said = [];
  if (status.status === "down") {
    const told = { address: visible(status.upstream), since: since(downSince(status), now) };
    const row = caused("notice.down", status.upstream_error, told);
    said.push({ id: "down", ...row, advice: t("notice.down_check") });
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
  const trouble = status.status === "failing" || status.status === "down";
  return `${running}${trouble ? `! ${t(`health.${status.status}`)} \u2013 ` : ""}${product}`;
}

const counted = (whole) => (whole < 60 ? t("time.s", { n: whole }) : seconds(whole));

export function lostLine(silence, wait, lastData) {
  return {
    health: t("line.lost", { s: counted(Math.floor(silence)) }),
    answers: wait > 0 ? t("line.retry", { r: counted(Math.ceil(wait)) }) : t("line.trying"),
    running: t("line.as_of", { time: clock(lastData) }),
    last: "",
  };
}
