// Whether a call is one that the address asks for, as far as that can be told here; filters.py says the
// same on the server. Not here: what only the server knows, such as which calls hold a text.

import { modelKey } from "./facts.js";
import { epoch } from "./format.js";

const SECONDS = { s: 1, m: 60, h: 3600, d: 86400, w: 7 * 86400 };

const RULES = {
  client: (call, asked) => call.client === asked,
  state: (call, asked) => call.state === asked,
  route: (call, asked) => call.path === asked,
  reason: (call, asked) => call.reason === asked,
  model: (call, asked) => (call.model ? modelKey(call.model) === modelKey(asked) : running(call)),
  slower_than: (call, asked) => (call.state === "running" ? null : call.duration > Number(asked)),
  since: (call, asked, now) => {
    const [, count, unit] = /^(\d+)([smhdw])$/.exec(asked) ?? [];
    return unit ? epoch(call.started_at) >= now - count * SECONDS[unit] : null;
  },
};

/** Of one that runs more may be known later. */
const running = (call) => (call.state === "running" ? null : false);

/** true, false, or null where only the server knows. `asked` are names and values without empty ones,
 * `now` seconds since 1970 by the proxy's clock. */
export function fits(call, asked, now) {
  const told = asked.map(([name, value]) => (RULES[name] ? RULES[name](call, value, now) : null));
  if (told.includes(false)) return false;
  return told.includes(null) ? null : true;
}
