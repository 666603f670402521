// The overview: draws what came with it, then what the stream and a few questions tell.

import { AroundView } from "./around.js";
import { json, show } from "./dom.js";
import { Folds } from "./folds.js";
import { steady } from "./hold.js";
import { FindingsView } from "./render-findings.js";
import { ModelsView } from "./render-models.js";
import { NowView } from "./render-now.js";
import { NumbersView } from "./render-numbers.js";
import { RecentView } from "./render-recent.js";
import { Shell } from "./shell.js";

const SELDOM = 60_000; // milliseconds from one look at the findings to the next
const MANY = 200;

const shell = new Shell({ render, heard });
const { store, painter } = shell;
const again = () => shell.again();
const now = new NowView(store, again);
const numbers = new NumbersView(store);
const models = new ModelsView(store);
const findings = new FindingsView(store);
const around = new AroundView(store);
const recent = new RecentView(store, again);
const folds = new Folds(store);
let snapshots = 0;

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
    around.render();
    models.render();
    folds.render();
    recent.render();
  });
}

function heard(kind) {
  // A snapshot holds the last 20 calls: after a break there may have been more.
  if (kind === "snapshot" && ((snapshots += 1) > 1 || shell.stream.opened > 1)) catchUp();
}

async function catchUp() {
  fetchFindings();
  try {
    store.merge(await json(`api/requests?limit=${MANY}`));
    painter.ask();
  } catch {
    // What the snapshot holds stands in the list, and the next ones follow.
  }
}

/** They cost the store more than the other numbers, and change slowly. */
async function fetchFindings() {
  if (!shell.awake) return;
  await Promise.all([findings.fetch(), around.fetch()]);
  painter.ask();
}

setInterval(fetchFindings, SELDOM);
shell.start();
