// The sections that are folded on phones: each says in a line what matters of it, above all what is wrong.
// The same rules as in folded.py.

import { fill } from "./dom.js";
import { BAD } from "./facts.js";
import { n, number, seconds } from "./format.js";
import { percentile } from "./calls.js";
import { t } from "./i18n.js";

const WHOLE = 0.9995; // of a model in GPU memory: more is all of it
const NARROW = matchMedia("(max-width: 719px)");

const joined = (...told) => told.filter(Boolean).join(" \u00b7 ");
const failed = (bad) => (bad ? n("failed", bad) : "");
const badOf = (summary) => BAD.reduce((sum, key) => sum + summary[key], 0);

export function folded(models, all) {
  const loaded = models.filter((model) => model.loaded);
  const slow = loaded.filter((model) => model.size_loaded && model.size_vram !== null && model.size_vram < WHOLE * model.size_loaded);
  const median = percentile(all.duration, "p50", seconds);
  return {
    models: n("loaded", loaded.length),
    models_bad: joined(slow.length && n("fold.cpu", slow.length), failed(models.reduce((sum, { stats }) => sum + (stats ? badOf(stats) : 0), 0))),
    summary: joined(n("fold.calls", all.requests), !Array.isArray(median) && t("fold.median", { s: median })),
    summary_bad: failed(badOf(all)),
  };
}

/** A browser may deny a page its storage: then nothing is kept, and all else works. */
function keep(name, value) {
  try {
    sessionStorage.setItem(name, value);
  } catch {}
}

function kept(name) {
  try {
    return sessionStorage.getItem(name);
  } catch {
    return null;
  }
}

export class Folds {
  constructor(store) {
    this.store = store;
    this.folds = [...document.querySelectorAll("details.fold")];
    this.lay();
    NARROW.addEventListener("change", () => this.lay());
    for (const fold of this.folds) fold.addEventListener("toggle", () => NARROW.matches && keep(fold.id, fold.open ? "open" : ""));
  }

  /** Without script all stand open, as they do where there is room; on phones those opened in this tab. */
  lay() {
    for (const fold of this.folds) {
      fold.open = !NARROW.matches || kept(fold.id) === "open";
      fold.querySelector("summary").tabIndex = NARROW.matches ? 0 : -1;
    }
  }

  render() {
    const told = folded(this.store.models, this.store.stats.all);
    for (const fold of this.folds) fill(fold.querySelector(".fold-line"), { key: told[fold.dataset.of], bad: told[`${fold.dataset.of}_bad`] });
  }
}
