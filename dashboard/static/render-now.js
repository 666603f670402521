// The lanes: calls that run now, by model, each with its time drawn on one axis that ends now.

import { endedRow, runningRow } from "./calls.js";
import { attribute, copy, fill, find, full, mark, say, show } from "./dom.js";
import { modelKey, occupies } from "./facts.js";
import { ago, epoch, n, name } from "./format.js";
import { Hold } from "./hold.js";
import { t } from "./i18n.js";
import { Rows } from "./rows.js";
import { laneBar } from "./bars.js";

const RANGE = 60; // seconds; over two minutes an ordinary call was a speck
const MOST = 12;

export class NowView {
  constructor(store, again) {
    this.store = store;
    this.section = document.getElementById("now");
    this.list = document.getElementById("now-list");
    this.table = find("table", this.section);
    this.more = document.getElementById("now-more");
    this.hold = new Hold(this.section, again);
    this.groups = new Map();
    for (const body of this.table.tBodies) this.adopt(body);
  }

  adopt(body) {
    const rows = new Rows(
      body,
      () => copy("t-lane"),
      (row, call) => this.lane(row, call),
    );
    this.groups.set(body.dataset.model, { body, rows });
    return this.groups.get(body.dataset.model);
  }

  render() {
    const wanted = this.chosen();
    const known = new Map(this.store.models.map((model) => [modelKey(model.name), model]));
    const models = new Map();
    for (const call of wanted) {
      const key = call.model ? modelKey(call.model) : "";
      models.set(key, [...(models.get(key) ?? []), call]);
    }
    for (const [key, { body }] of this.groups) {
      if (!models.has(key)) {
        body.remove();
        this.groups.delete(key);
      }
    }
    for (const [key, calls] of models) {
      let group = this.groups.get(key);
      if (!group) {
        const body = copy("t-group");
        body.dataset.model = key;
        this.table.append(body);
        group = this.adopt(body);
      }
      fill(group.body.rows[0], {
        label: key ? name(calls[0].model) : t("now.no_model"),
        facts: occupies(known.get(key), this.store.now(), Boolean(this.store.status.upstream_up)),
      });
      group.rows.show(calls);
    }
    const rest = this.store.active.size - wanted.filter((call) => call.state === "running").length;
    if (rest > 0) say(this.more, n("now.more", rest));
    show(this.more, rest > 0);
    show(this.list, wanted.length > 0);
    const idle = document.getElementById("now-empty");
    show(idle, wanted.length === 0);
    show(find(".legend", this.section), wanted.length > 0);
    const last = this.store.status.last_call_at;
    const gone = last && ago(epoch(last), this.store.now());
    say(idle, gone ? t("now.idle_since", { ago: gone }) : t("now.idle"));
  }

  /** The calls to show; while somebody points at the lanes, those shown stay and new ones wait. */
  chosen() {
    const calls = this.store.lanes();
    const shown = new Map();
    for (const { rows } of this.groups.values()) for (const id of rows.rows.keys()) shown.set(id, null);
    if (!shown.size || !(this.hold.pointed || this.hold.focused) || this.hold.pressed) {
      this.hold.count(0);
      this.kept = new Map(calls.slice(0, MOST).map((call) => [call.id, call]));
      return [...this.kept.values()];
    }
    const known = new Map(calls.map((call) => [call.id, call]));
    for (const call of this.store.recent) known.set(call.id, call);
    this.kept ??= new Map();
    for (const id of shown.keys()) shown.set(id, known.get(id) ?? this.kept.get(id));
    const waiting = calls.filter((call) => call.state === "running" && !shown.has(call.id));
    this.hold.count(waiting.length);
    return [...shown.values()].filter(Boolean);
  }

  lane(row, call) {
    const running = call.state === "running";
    const stop = find(".stop", row);
    // It goes with the call; whoever was at it stays at the row.
    if (!running && document.activeElement === stop) find("a", row).focus({ preventScroll: true });
    attribute(row, "data-state", call.state);
    attribute(find("a", row), "href", `?call=${encodeURIComponent(call.id)}`);
    mark(find(".state", row), call.state);
    const told = running ? runningRow(call, this.store.elapsed(call)) : endedRow(call);
    fill(row, told);
    attribute(stop, "aria-label", t("stop.of", { client: full(told.client) + told.about }));
    const counted = Boolean(call.output_chunks);
    for (const cell of row.querySelectorAll(".c-pieces, .c-rate, .c-first")) {
      cell.classList.toggle("none", !counted || !find("[data-f]", cell).textContent);
    }
    laneBar(find(".bar", row), call, this.store.now() - epoch(call.started_at), RANGE);
  }
}
