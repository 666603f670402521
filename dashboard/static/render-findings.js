// What there is to look at, and who waited for whom: asked for now and then, in the proxy's own words.

import { attribute, copy, fill, find, json, show } from "./dom.js";
import { ago, epoch, name, number, seconds } from "./format.js";
import { t } from "./i18n.js";
import { Rows } from "./rows.js";

const MOST = 5;
const WAITS = 10;

export class FindingsView {
  constructor(store) {
    this.store = store;
    this.section = document.getElementById("findings");
    this.list = document.getElementById("findings-list");
    this.waits = document.getElementById("waits");
    this.found = null; // until they are fetched the first page's stand
    this.waited = [];
    this.rows = new Rows(this.list, () => copy("t-finding"), (row, one) => this.row(row, one));
    this.waitRows = new Rows(find("tbody", this.waits), () => copy("t-wait"), (row, one) => this.wait(row, one));
  }

  async fetch() {
    [this.found, this.waited] = await Promise.all([
      json(`api/insights?since=1d&limit=${MOST}`),
      json(`api/insights?since=1d&limit=${WAITS}&kind=waited`),
    ]);
  }

  render() {
    if (!this.found) return;
    this.rows.show(this.found);
    this.waitRows.show(this.waited);
    show(this.list, this.found.length > 0);
    show(document.getElementById("findings-empty"), this.found.length === 0);
    show(this.waits, this.waited.length > 0);
  }

  row(row, one) {
    const last = t("findings.last", { ago: ago(epoch(one.last_at), this.store.now()) });
    fill(row, { text: one.text[document.documentElement.lang], last });
    attribute(find(".shows", row), "href", `?call=${encodeURIComponent(one.calls[0] ?? "")}`);
  }

  wait(row, one) {
    const client = (text) => name(text ?? t("finding.client.unknown"));
    fill(row, {
      client: client(one.client),
      other: client(one.other),
      model: name(one.model ?? ""),
      seconds: seconds(one.seconds),
      calls: number(one.count),
    });
  }
}
