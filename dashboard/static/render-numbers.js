// The strip of big numbers, and the general statistics beside the models.

import { bar } from "./bars.js";
import { fill, find, show } from "./dom.js";
import { KINDS, countedSince, numbers, spent, summaryRow } from "./facts.js";
import { t } from "./i18n.js";

const POINTS = ["p50", "p90", "p95", "p99"];
const APART = ["cancelled", "interrupted"]; // shown when there are any

export class NumbersView {
  constructor(store) {
    this.store = store;
    this.strip = document.getElementById("numbers");
    this.models = find("#models .block-head");
    this.summary = document.getElementById("summary");
  }

  render() {
    const { status, models, stats } = this.store;
    fill(this.strip, numbers(status, models, this.store.now()));
    const since = countedSince(status, this.store.now());
    fill(this.summary, { since, ...summaryRow(stats.all) });
    fill(this.models, { since: since && t("models.since", { since }) });
    const spread = stats.all.duration;
    const top = spread?.p99 || spread?.max || 0;
    for (const key of POINTS) {
      const drawn = find(`[data-bar=${key}]`, this.summary);
      const told = !find(`[data-f=duration_${key}] [aria-hidden]`, this.summary);
      bar(drawn, top && told ? [["total", 0, (spread[key] / top) * 100]] : []);
    }
    for (const key of APART) show(find(`[data-count=${key}]`, this.summary), stats.all[key] > 0);
    this.spent(stats.all);
  }

  spent(summary) {
    show(document.getElementById("spent-empty"), !spent(summary));
    show(document.getElementById("spent-shown"), spent(summary));
    const times = KINDS.map((kind) => summary[`${kind}_seconds`]);
    const all = times.reduce((sum, value) => sum + value, 0);
    let from = 0;
    const segments = [];
    KINDS.forEach((kind, index) => {
      const to = from + (all ? (times[index] / all) * 100 : 0);
      if (to > from) segments.push([kind, from, to]);
      from = to;
    });
    bar(document.getElementById("spent"), segments);
  }
}
