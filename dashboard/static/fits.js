// Whether a call is one that the address asks for, as far as that can be told here; filters.py says the
// same on the server. Not here: what only the server knows, such as which calls hold a text.

import { modelKey } from "./facts.js";

const RULES = {
  client: (call, asked) => call.client === asked,
  state: (call, asked) => call.state === asked,
  route: (call, asked) => call.path === asked,
  reason: (call, asked) => call.reason === asked,
  model: (call, asked) => (call.model ? modelKey(call.model) === modelKey(asked) : running(call)),
  slower_than: (call, asked) => (call.state === "running" ? null : call.duration > Number(asked)),
  // Of a call that is told of now: it has begun since.
  since: (_, asked) => /^\d+[smhdw]$/.test(asked) || null,
};

/** Of one that runs more may be known later. */
const running = (call) => (call.state === "running" ? null : false);

/** true, false, or null where only the server knows. `asked` are names and values without empty ones. */
export function fits(call, asked) {
  const told = asked.map(([name, value]) => (RULES[name] ? RULES[name](call, value) : null));
  if (told.includes(false)) return false;
  return told.includes(null) ? null : true;
}
