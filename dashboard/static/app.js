// The overview: draws what came with it, then what the stream and a few questions tell.

import { json, show } from "./dom.js";
import { steady } from "./hold.js";
import { FindingsView } from "./render-findings.js";
import { ModelsView } from "./render-models.js";
import { NowView } from "./render-now.js";
import { NumbersView } from "./render-numbers.js";
import { RecentView } from "./render-recent.js";
import { Shell } from "./shell.js";

const SOON = 1000; // milliseconds from a change to fresh statistics
const LATER = 15_000;
const SELDOM = 60_000; // from one look at the findings to the next
const MANY = 200;

const shell = new Shell({ render, heard });
const { store, painter } = shell;
const again = () => shell.again();
const now = new NowView(store, again);
const numbers = new NumbersView(store);
const models = new ModelsView(store);
const findings = new FindingsView(store);
const recent = new RecentView(store, again);
let snapshots = 0;
let fetchTimer;

function render() {
  const { empty } = store;
  show(document.getElementById("first"), empty);
  show(document.getElementById("page"), !empty);
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
}

function heard(kind, changed) {
  // A snapshot holds the last 20 calls: after a break there may have been more.
  if (kind === "snapshot" && (snapshots += 1) > 1) catchUp();
  if (changed) refresh(SOON);
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
  if (shell.awake) {
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
  if (!shell.awake) return;
  await findings.fetch();
  painter.ask();
}

setInterval(fetchFindings, SELDOM);
shell.start();
refresh(LATER);
