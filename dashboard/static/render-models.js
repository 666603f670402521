// What each model occupies now and how it did. The order of the first page is kept.

import { attribute, copy, fill, find, mark, say, show } from "./dom.js";
import { modelKind, modelRow } from "./facts.js";
import { n, name } from "./format.js";
import { Rows } from "./rows.js";

const MOST = 200;

export class ModelsView {
  constructor(store) {
    this.store = store;
    this.section = document.getElementById("models");
    this.disk = document.getElementById("on-disk");
    this.rows = new Rows(
      find("tbody", this.section),
      () => copy("t-model"),
      (row, model) => this.row(row, model),
      (model) => model.name,
    );
    this.order = [...this.rows.rows.keys()];
    this.others = null;
  }

  render() {
    const byName = new Map(this.store.models.map((model) => [model.name, model]));
    for (const model of byName.values()) {
      if ((model.loaded || model.stats || model.active) && !this.order.includes(model.name)) {
        this.order.push(model.name);
      }
    }
    this.order = this.order.filter((model) => byName.has(model)).slice(0, MOST);
    this.rows.show(this.order.map((model) => byName.get(model)));
    show(find(".list", this.section), this.order.length > 0);
    show(document.getElementById("models-empty"), this.order.length === 0);
    this.rest([...byName.keys()].filter((model) => !this.order.includes(model)));
  }

  row(row, model) {
    mark(find(".state", row), modelKind(model));
    fill(row, modelRow(model, this.store.now(), Boolean(this.store.status.upstream_up)));
    attribute(row, "data-busy", model.active ? "" : null);
  }

  /** Models that are on disk only and were never used: a fold, for there may be many. */
  rest(names) {
    const drawn = names.join("\n");
    if (drawn === this.others) return;
    this.others = drawn;
    show(this.disk, names.length > 0);
    say(find("summary", this.disk), n("models.on_disk", names.length));
    find("ul", this.disk).replaceChildren(
      ...names.slice(0, MOST).map((text) => {
        const item = document.createElement("li");
        const label = document.createElement("bdi");
        say(label, name(text));
        item.append(label);
        return item;
      }),
    );
  }
}
