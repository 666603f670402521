// The page of calls: keeps the newest page of those that the address asks for up to date, by its stream or,
// where only the server knows which they are, by asking again; and fetches older ones below it. While
// somebody reads the list, new ones wait. A list that is sorted stands.

import { scaleFor } from "./bars.js";
import { showCall } from "./call-row.js";
import { copy, find, json, say, show } from "./dom.js";
import { fits } from "./fits.js";
import { seconds } from "./format.js";
import { Hold } from "./hold.js";
import { Rows } from "./rows.js";
import { Shell } from "./shell.js";

const PAGE = 50;
const MOST = 2000; // rows; older ones are on a page of their own
const KEPT = 500; // rows, unless older ones were fetched: a page may stay open for days
const GAP = 4000; // milliseconds from one look to the next
const OLD = 1000; // so old an answer may be: it was made for another page

const section = document.getElementById("requests");
const older = document.getElementById("requests-older");
const axis = find("[data-f=scale]", section);
const shell = new Shell({ render, heard });
const { store } = shell;
const hold = new Hold(section, () => shell.again());
const rows = new Rows(find("tbody", section), () => copy("t-call"), (row, call) => showCall(row, call, store.now(), scale));
const { sort } = section.dataset;
const lives = section.dataset.first !== "" && !sort;
const asked = [...wanted()].filter(([name]) => name !== "limit");
const calls = new Map(shell.data.calls.map((call) => [call.id, call]));
let scale = 1;
let oldest = shell.data.calls.at(-1)?.id ?? "";
let fetched = Date.now();
let due = false;
let heardAt = 0;
let kept = KEPT;

/** What the address asks for. */
function wanted() {
  const asked = new URLSearchParams(location.search);
  for (const [name, value] of [...asked]) {
    if (value === "" || ["call", "columns", "language", "theme"].includes(name)) asked.delete(name);
  }
  return asked;
}

/** The same, and more, as the API takes it. */
function query(more) {
  const asked = wanted();
  for (const [name, value] of Object.entries(more)) asked.set(name, value);
  return `api/requests?${asked}`;
}

function render() {
  const held = !sort && hold.held && rows.size > 0;
  const all = [...calls.values()];
  if (!sort) all.sort((a, b) => (a.id < b.id ? 1 : -1));
  if (!sort && !held && all.length > kept) leaveOut(all.splice(kept), all.at(-1).id);
  // What is older stands below all that is read.
  const shown = held ? all.filter((call) => rows.has(call.id) || call.id < oldest) : all;
  // Of those that wait no more are kept than will be shown: all below them will be left out then.
  const listed = new Set(shown);
  for (const call of all.filter((one) => !listed.has(one)).slice(kept)) calls.delete(call.id);
  oldest = shown.at(-1)?.id ?? "";
  hold.count(all.length - shown.length);
  if (!held || scale === 1) scale = scaleFor(shown);
  if (axis) say(axis, String(seconds(scale)));
  rows.show(shown);
  show(document.getElementById("requests-list"), shown.length > 0);
  if (shown.length) show(document.getElementById("requests-empty"), false);
  if (due && Date.now() - fetched > GAP) look();
}

function heard(kind, changed, value) {
  if (!lives || !changed) return;
  const fit = kind === "snapshot" ? null : fits(value, asked, store.now());
  if (fit === null) [due, heardAt] = [true, Date.now()]; // the server is asked
  else if (fit) calls.set(value.id, store.active.get(value.id) ?? store.recent.find((call) => call.id === value.id) ?? value);
  else calls.delete(value.id);
}

/** The oldest rows: they are on the next page, from the last one on that stays. */
function leaveOut(oldest, last) {
  for (const call of oldest) calls.delete(call.id);
  const next = new URLSearchParams(older.search);
  next.set("before", last);
  older.search = next;
  show(older, true);
}

/** Takes an answer in. The stream may be ahead of it: a call that has ended does not run again. */
function take(found) {
  const ended = new Set([...calls.values(), ...store.recent].filter((call) => call.state !== "running").map((call) => call.id));
  for (const call of found) if (call.state !== "running" || !ended.has(call.id)) calls.set(call.id, call);
}

/** Fetches the newest page again. What has ended since, or began, is in it. */
async function look() {
  if (!shell.awake) return;
  fetched = Date.now();
  due = fetched - heardAt < OLD; // what was heard last may not be in the answer yet
  try {
    const found = await json(query({ limit: PAGE }), "GET", { "Cache-Control": `max-age=${OLD / 1000}` });
    const told = new Set(found.map((call) => call.id));
    const last = found.length < PAGE ? "" : found.at(-1).id;
    // One that ran may have ended as something else than is asked for; ended ones do not change.
    for (const [id, call] of calls) if (call.state === "running" && id >= last && !told.has(id)) calls.delete(id);
    take(found);
    show(document.getElementById("requests-unread"), false);
  } catch {
    show(document.getElementById("requests-unread"), true);
  }
  shell.painter.ask();
}

/** The next page, below the others: its address says from where on. */
async function fetchOlder() {
  const place = sort ? "after" : "before";
  const from = new URLSearchParams(older.search).get(place);
  const response = await fetch(query({ limit: PAGE, [place]: from }), { headers: { Accept: "application/json" } });
  if (!response.ok) throw new Error(String(response.status));
  const found = await response.json();
  take(found);
  kept = Math.max(KEPT, calls.size);
  const stopped = response.headers.get("X-Ollama-Proxy-Scanned-To");
  show(document.getElementById("requests-cut"), stopped !== null && !sort);
  const next = new URLSearchParams(older.search);
  const last = found.at(-1);
  if (sort) next.set(place, last ? `${last[sort] ?? -1}_${last.id}` : from);
  else next.set(place, stopped ?? last?.id ?? from);
  older.search = next;
  show(older, found.length === PAGE || (stopped !== null && !sort));
}

older.addEventListener("click", async (event) => {
  if (event.ctrlKey || event.metaKey || event.shiftKey || calls.size >= MOST) return;
  event.preventDefault();
  await fetchOlder().catch(() => location.assign(older.href));
  shell.again();
});

// An empty field asks for nothing: the address that is shared stays short.
find("form.filters").addEventListener("submit", (event) => {
  for (const field of event.target.elements) if (field.name && field.value === "") field.disabled = true;
});
addEventListener("pageshow", () => {
  for (const field of find("form.filters").elements) field.disabled = false;
});

shell.start();
