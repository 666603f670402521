// What a call's figures mean: was its prompt cut, did it outgrow its context, why was its model loaded.

import { n, number, percent, seconds, visible } from "./format.js";
import { t } from "./i18n.js";

/** In words, by key; what was not asked of this call is left out. */
export function insightsOf(call) {
  const { prompt_cut: cut, overrun, reload, load_wait: wait, prompt_start: start, prompt_cache: cache, waste, slow, deadline } = call.insights ?? {};
  const told = {};
  if (call.waited_for?.length) told.waited_for = call.waited_for.map(waitOf).join(" \u00b7 ");
  if (cut) told.prompt_cut = cutOf(cut);
  if (overrun) told.overrun = overrunOf(overrun);
  if (wait) told.load_wait = t(`call.load_wait.${wait.reason}`, { s: seconds(wait.seconds) });
  if (reload) told.reload = reloadOf(reload);
  if (start) told.prompt_start = t("call.prompt_start.at", { at: number(start.at), tokens: t("estimate", { s: number(start.tokens) }) });
  if (cache) told.prompt_cache = t("call.prompt_cache.share", { share: t("estimate", { s: percent(Math.round(cache.share * 100)) }), tokens: t("estimate", { s: number(cache.tokens) }) });
  if (waste) told.waste = t(`call.waste.${waste.kind}`);
  if (slow) told.slow = slowOf(slow);
  if (call.expected) told.expected = expectedOf(call.expected);
  if (deadline) told.deadline = t(deadline.met ? "call.deadline.met" : "call.deadline.missed", { s: seconds(deadline.seconds) });
  return told;
}

function waitOf({ client, kind, seconds: spent }) {
  const name = visible(client ?? t("finding.client.unknown"));
  return t(`call.waited_for.${kind}`, { client: name, s: seconds(spent) });
}

function cutOf(cut) {
  if (cut.cut === null) return t("call.cut.unknown");
  if (!cut.cut) return t("call.cut.no");
  if (cut.tokens_lost === null) return t("call.cut.yes");
  const lost = number(cut.tokens_lost);
  return n("call.cut.lost", cut.tokens_lost, { lost: cut.estimated ? t("estimate", { s: lost }) : lost });
}

function slowOf(slow) {
  const parts = slow.because.map((one) => {
    const part = t(`call.slow.${one.what}`, { s: seconds(one.seconds) });
    return one.reason ? `${part} (${t(`call.slow.reason.${one.reason}`)})` : part;
  });
  return [t("call.slow.by", { s: seconds(slow.seconds), usual: seconds(slow.usual), n: number(slow.calls) }), ...parts].join(" \u00b7 ");
}

function expectedOf(expected) {
  const range = ({ p50, p95 }) => t("call.expected.range", { p50: seconds(p50), p95: seconds(p95) });
  const { first_token: first, total, calls } = expected;
  return t("call.expected.in", { first: range(first), total: range(total), n: number(calls) });
}

function overrunOf(overrun) {
  const parts = [
    overrun.shifts && n("call.overrun.shifts", overrun.shifts),
    overrun.ended && t(`call.overrun.${overrun.ended}`),
  ];
  return parts.filter(Boolean).join(" \u00b7 ");
}

function reloadOf(reload) {
  const by = visible(reload.by ?? t("finding.client.unknown"));
  const changed = Object.entries(reload.changed).map(([name, [old, now]]) => `${name} ${valueOf(old)} \u2192 ${valueOf(now)}`);
  return t(`call.reload.${reload.cause}`, { by, changed: visible(changed.join(", ")) });
}

function valueOf(value) {
  return value === null ? "\u2013" : String(value);
}
