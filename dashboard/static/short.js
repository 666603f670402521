// A call in one sentence: where its time went, and for whom it waited most; and what ran beside it.

import { phases } from "./calls.js";
import { epoch, seconds, visible } from "./format.js";
import { t } from "./i18n.js";

const SHARE = 0.05; // of the whole: less is not worth a word

/** Nothing of a call whose duration is not known. */
export function short(call) {
  if (call.duration === null || call.state === "running") return "";
  const parts = phases(call).filter(([, value]) => value >= SHARE * call.duration);
  const told = parts.map(([kind, value]) => part(kind, value, call));
  const total = { s: seconds(call.duration) };
  return told.length ? t("short.all", { ...total, parts: told.join(", ") }) : "";
}

/** The page of the calls that began while this one ran. */
export function beside(call) {
  const since = Math.floor(epoch(call.started_at));
  return `requests?since=${since}&until=${since + Math.ceil(call.duration ?? 0) + 1}`;
}

function part(kind, value, call) {
  const s = seconds(value);
  if (kind !== "queue" || !call.waited_for?.length) return t(`short.${kind}`, { s });
  const client = visible(call.waited_for[0].client ?? t("finding.client.unknown"));
  return t("short.queue.for", { s, client });
}
