// The page's start: takes the numbers that came with it, opens the stream, draws what changes.

import { learn } from "./calls.js";
import { Pause, copying, theme } from "./controls.js";
import { Detail } from "./detail.js";
import { json, say, show } from "./dom.js";
import { size } from "./format.js";
import { steady } from "./hold.js";
import { speak, t } from "./i18n.js";
import { Painter } from "./painter.js";
import { FindingsView } from "./render-findings.js";
import { ModelsView } from "./render-models.js";
import { NowView } from "./render-now.js";
import { NumbersView } from "./render-numbers.js";
import { RecentView } from "./render-recent.js";
import { StatusView } from "./render-status.js";
import { Stop } from "./stop.js";
import { Store } from "./store.js";
import { Stream } from "./stream.js";

const SOON = 1000; // milliseconds from a change to fresh statistics
const LATER = 15_000;
const SELDOM = 60_000; // from one look at the findings to the next
const MANY = 200;

const data = JSON.parse(document.getElementById("data").textContent);
speak(data.language, data.words);
learn(data.paths);
const store = new Store(data);
const painter = new Painter(paint);
const stream = new Stream("api/events", onEvent, onState);
const again = () => painter.ask(true);
const statusView = new StatusView(store, stream, data.product);
const now = new NowView(store, again);
const numbers = new NumbersView(store);
const models = new ModelsView(store);
const findings = new FindingsView(store);
const recent = new RecentView(store, again);
const pause = new Pause(store, painter);
const database = document.getElementById("database");
let snapshots = 0;
let fetchTimer;

function paint() {
  const { empty } = store;
  show(document.getElementById("first"), empty);
  show(document.getElementById("page"), !empty);
  statusView.render();
  if (empty) return;
  const read = [recent, now].find((view) => view.hold.held)?.section;
  if (!read) recent.section.style.marginTop = "";
  steady(read, () => {
    numbers.render();
    now.render();
    findings.render();
    models.render();
    recent.render();
  });
  const bytes = store.status.database_bytes;
  show(database, bytes !== null);
  if (bytes !== null) say(database, t("foot.database", { size: size(bytes) }));
}

function onEvent(kind, value) {
  const changed = store.apply(kind, value);
  // A snapshot holds the last 20 calls: after a break there may have been more.
  if (kind === "snapshot" && (snapshots += 1) > 1) catchUp();
  if (changed) refresh(SOON);
  statusView.tab();
  pause.count();
  painter.ask();
}

function onState() {
  store.freeze(stream.state === "lost" ? stream.lastData : null);
  painter.ask();
}

async function catchUp() {
  fetchFindings();
  try {
    store.merge(await json(`api/requests?limit=${MANY}`));
    painter.ask();
  } catch {
    refresh(SOON);
  }
}

/** Fetches models and statistics in `wait` milliseconds, or sooner if that was asked before. */
function refresh(wait) {
  const due = performance.now() + wait;
  if (fetchTimer && fetchTimer.due <= due) return;
  clearTimeout(fetchTimer?.id);
  fetchTimer = { due, id: setTimeout(fetchNumbers, wait) };
}

async function fetchNumbers() {
  if (stream.state === "live" && !painter.paused) {
    try {
      [store.models, store.stats] = await Promise.all([json("api/models"), json("api/stats")]);
      store.unread = false;
    } catch {
      store.unread = true;
    }
    painter.ask();
  }
  fetchTimer = null;
  refresh(LATER);
}

/** They cost the store more than the other numbers, and change slowly. */
async function fetchFindings() {
  if (stream.state !== "live" || painter.paused) return;
  await findings.fetch().catch(() => {});
  painter.ask();
}

/** A hidden tab without stream still asks now and then, so that its title and icon are true. */
async function rest() {
  if (stream.state !== "resting") return;
  store.status = await json("api/status").catch(() => store.status);
  statusView.tab();
}

theme();
copying();
const detail = new Detail(store);
new Stop(store, (call) => call.id === detail.id && detail.show(call));
say(document.getElementById("zone"), t("foot.zone", { zone: Intl.DateTimeFormat().resolvedOptions().timeZone }));
setInterval(() => {
  stream.check();
  painter.ask();
}, 1000);
setInterval(rest, 30_000);
setInterval(fetchFindings, SELDOM);
painter.ask(true);
stream.open();
refresh(LATER);
