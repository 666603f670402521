// The few ways in which this page touches the document. Data goes in as text, never as markup.

const SVG = "http://www.w3.org/2000/svg";
const places = new WeakMap();

export const find = (selector, root = document) => root.querySelector(selector);

export function attribute(element, name, value) {
  if (value === null) element.removeAttribute(name);
  else if (element.getAttribute(name) !== String(value)) element.setAttribute(name, value);
}

export function show(element, shown) {
  if (element.hidden === shown) element.hidden = !shown;
}

/** Puts a text, or a pair: the short form for the eye and the full one for the ear and on hover. */
export function say(element, value) {
  const pair = Array.isArray(value);
  if (element.textContent === (pair ? value.join("") : value)) return;
  if (!pair) {
    element.textContent = value;
    return;
  }
  const seen = document.createElement("span");
  seen.setAttribute("aria-hidden", "true");
  seen.title = value[1];
  seen.textContent = value[0];
  const heard = document.createElement("span");
  heard.className = "vh";
  heard.textContent = value[1];
  element.replaceChildren(seen, heard);
}

/** Fills the `data-f` places of `root`; only text that differs is touched. */
export function fill(root, values) {
  let found = places.get(root);
  if (!found) {
    found = new Map([...root.querySelectorAll("[data-f]")].map((place) => [place.dataset.f, place]));
    places.set(root, found);
  }
  for (const [key, value] of Object.entries(values)) {
    const place = found.get(key);
    if (place) say(place, value);
  }
}

/** A copy of a template's only element. */
export function copy(id) {
  return document.getElementById(id).content.firstElementChild.cloneNode(true);
}

export function draw(name, attributes = {}) {
  const element = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  return element;
}

/** Sets the sign and the tint of a state; its word is filled like any other text. */
export function mark(element, kind) {
  attribute(element, "data-state", kind);
  const use = find("use", element);
  if (use) attribute(use, "href", `#s-${kind}`);
}

/** The full form of a text. */
export const full = (value) => [value].flat().at(-1);

/** Fetches JSON, of which the browser keeps no copy; other than 2xx rejects with status and reason. */
export async function json(path, method = "GET", headers = {}) {
  const response = await fetch(path, { method, cache: "no-store", headers: { Accept: "application/json", ...headers } });
  const body = await response.json().catch(() => ({}));
  // The session has ended: the page itself, asked for again, leads to the login.
  if (response.status === 401) location.reload();
  if (!response.ok) {
    throw Object.assign(new Error(body.error ?? String(response.status)), { status: response.status });
  }
  return body;
}
