// The page's own address, with another call in it: what else it asks for stays.

/** `call` null: without one. */
export function here({ call }) {
  const asked = new URLSearchParams(location.search);
  if (call === null) asked.delete("call");
  else asked.set("call", call);
  return asked.size ? `?${asked}` : location.pathname;
}
