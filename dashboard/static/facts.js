// What the page says of each model and of all calls. The same rules as in rows.py.

import { LEAST, percentile } from "./calls.js";
import { at, compact, epoch, n, name, none, number, percent, seconds, since, size, speed, unknown, visible } from "./format.js";
import { t } from "./i18n.js";

const YEAR = 365 * 86400;
export const BAD = ["failed", "timeout"];
export const KINDS = ["queue", "load", "prefill", "decode"];

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

/** When another model took over its name, seen by its digest. */
function changed(model, now) {
  return model.changed_at ? t("changed", { at: at(epoch(model.changed_at), now) }) : "";
}

/** Not `up`: as Ollama was when last seen. */
export function modelRow(model, now, up = true) {
  const summary = model.stats ?? {};
  const bad = BAD.reduce((sum, key) => sum + (summary[key] ?? 0), 0);
  const whole = model.size_loaded;
  const kind = t(up ? `kind.${modelKind(model)}` : `kind.down.${modelKind(model)}`);
  const missing = model.loaded ? unknown() : none(kind);
  return {
    model: name(model.name),
    about: [model.parameter_size, model.quantization, changed(model, now)].filter(Boolean).map(visible).join(" · "),
    now: kind,
    expires: model.expires_at ? expires(model, now) : "",
    memory: model.loaded && whole ? size(whole) : missing,
    share: model.loaded && whole && model.size_vram !== null ? share(model) : "",
    context: model.context_length ? number(model.context_length) : missing,
    calls: number(summary.requests ?? 0),
    failed: bad ? n("failed", bad) : "",
    first: percentile(summary.time_to_first_token, "p50", seconds),
    decode: percentile(summary.tokens_per_second, "p50", speed),
    total: percentile(summary.duration, "p50", seconds),
  };
}

/** What a model occupies, in one line over its running calls. */
export function occupies(model, now, up) {
  if (!model) return "";
  const row = modelRow(model, now, up);
  const context = Array.isArray(row.context) ? "" : t("context.of", { n: row.context });
  return [row.now, row.memory, row.share, context, row.expires]
    .filter((text) => text && !Array.isArray(text))
    .join(" · ");
}

const noted = (...notes) => notes.filter(Boolean).join(" · ");

/** From when on calls were counted; nothing while none is. */
export function countedSince(status, now) {
  if (status.first_call_at) return since(epoch(status.first_call_at), now);
  return status.total_requests > status.active_requests ? t("since.first") : "";
}

export function numbers(status, models, now) {
  const bad = BAD.reduce((sum, key) => sum + status[`${key}_requests`], 0);
  const judged = status.completed_requests + bad;
  const counted = countedSince(status, now);
  return {
    uptime: seconds(Math.floor(status.uptime)),
    uptime_note: since(epoch(status.started_at), now),
    active: number(status.active_requests),
    active_note: noted(t("ago.now"), n("loaded", models.filter((model) => model.loaded).length)),
    requests: compact(status.total_requests),
    requests_note: noted(n("completed", status.completed_requests), counted),
    models: status.models_available === null ? none(t("models.never_seen")) : number(status.models_available),
    models_note: t(status.upstream_up ? "models.note" : "models.note_seen"),
    success: status.success_rate === null ? none(t("none_yet")) : percent(status.success_rate),
    success_note: judged ? noted(n("not_completed", bad, { m: number(judged) }), counted) : "",
    tokens: compact(status.total_tokens),
    tokens_note: noted(t("tokens.note", { i: compact(status.input_tokens), o: compact(status.output_tokens) }), counted),
  };
}

export function summaryRow(summary) {
  const bad = BAD.reduce((sum, key) => sum + summary[key], 0);
  const judged = summary.completed + bad;
  const row = {
    requests: number(summary.requests),
    failed: number(bad),
    failed_note: bad ? t("share.of", { p: percent((bad / judged) * 100), m: number(judged) }) : "",
    cancelled: number(summary.cancelled),
    interrupted: number(summary.interrupted),
    first_p50: percentile(summary.time_to_first_token, "p50", seconds),
    first_p95: percentile(summary.time_to_first_token, "p95", seconds),
    decode_p50: percentile(summary.tokens_per_second, "p50", speed),
    count: n("sample", summary.duration?.count ?? 0),
  };
  for (const key of ["p50", "p90", "p95", "p99"]) {
    row[`duration_${key}`] = percentile(summary.duration, key, seconds);
  }
  for (const kind of KINDS) {
    const spent = seconds(summary[`${kind}_seconds`]);
    row[`spent_${kind}`] = kind === "queue" ? t("estimate", { s: spent }) : spent;
  }
  return row;
}

/** Whether any phase took time that can be shown. */
export const spent = (summary) => KINDS.some((kind) => summary[`${kind}_seconds`] >= LEAST);
