// What only some calls have: speeds, gaps, thinking, tools, images, the program that called, its cost.

import { n, number, seconds, size, speed, visible } from "./format.js";
import { t } from "./i18n.js";

/** In words, by key; what this call has not is left out. */
export function moreOf(call) {
  const more = {};
  const thought = call.thinking_characters;
  if (call.time_to_first_byte !== null) more.byte = seconds(call.time_to_first_byte);
  if (call.connect !== null && more.byte) more.byte += ` (${t("call.connect", { s: seconds(call.connect) })})`;
  if (call.time_to_first_answer !== call.time_to_first_token) more.answer = seconds(call.time_to_first_answer);
  if (call.longest_gap !== null) {
    more.gaps = t("call.gaps_of", { longest: seconds(call.longest_gap), most: seconds(call.p95_gap) });
  }
  const each = call.time_per_output_token;
  if (each !== null) more.token = t("time.ms", { n: number(each * 1000, each < 0.01 ? 1 : 0) });
  if (call.prefill_tokens_per_second !== null) more.prefill_speed = prefillOf(call);
  if (call.rest !== null) more.rest = seconds(call.rest);
  if (thought) more.thinking = n("call.characters", thought);
  if (call.tool_calls) more.tools = [number(call.tool_calls), ...(call.tool_names ?? [])].map(visible).join(" \u00b7 ");
  if (call.images) more.images = `${number(call.images)} \u00b7 ${size(call.image_bytes)}`;
  if (call.caller) more.caller = callerOf(call.caller);
  if (call.resources) more.resources = resourcesOf(call.resources);
  return more;
}

/** A prompt that was in the cache is counted, but took no time: its speed is not the model's. */
function prefillOf(call) {
  const fast = `${speed(call.prefill_tokens_per_second)} ${t("unit.tok_s")}`;
  return call.prefill_cached ? `${fast} (${t("call.cached")})` : fast;
}

function callerOf(caller) {
  const pid = caller.pid ? t("call.pid", { pid: String(caller.pid) }) : "";
  const parts = [caller.script, caller.program, pid, caller.folder, caller.user, caller.service, caller.container];
  return parts.filter(Boolean).map(visible).join(" \u00b7 ");
}

function resourcesOf(used) {
  const parts = [
    used.cpu_seconds !== null && used.cpu_seconds !== undefined && t("call.cpu", { s: seconds(used.cpu_seconds) }),
    used.memory_peak_bytes && t("call.memory", { size: size(used.memory_peak_bytes) }),
    used.gpu_seconds && t("call.gpu", { s: seconds(used.gpu_seconds) }),
    used.gpu_watt_seconds && t("call.energy", { ws: number(used.gpu_watt_seconds) }),
    used.others_cpu_seconds && t("call.others_cpu", { s: seconds(used.others_cpu_seconds) }),
  ];
  return parts.filter(Boolean).join(" \u00b7 ");
}
