// What there is to look at, and who waited for whom: asked for now and then, in the proxy's own words.

import { attribute, copy, fill, find, json, say, show } from "./dom.js";
import { ago, clock, epoch, n, name, number, seconds, when } from "./format.js";
import { t } from "./i18n.js";
import { Rows } from "./rows.js";

const ASKED = 50;
const MOST = 5; // in the open
const LITTLE = 5; // seconds: less of waits in all is not worth a place there
const WAITED = 200;
const WAITS = 10;

export class FindingsView {
  constructor(store) {
    this.store = store;
    this.section = document.getElementById("findings");
    this.span = this.section.dataset.span; // as the address has it, if it is one of those
    this.list = document.getElementById("findings-list");
    this.waits = document.getElementById("waits");
    this.more = document.getElementById("findings-more");
    this.asOf = document.getElementById("findings-as-of");
    this.found = null; // until they are fetched the first page's stand
    this.unread = !document.getElementById("findings-unread").hidden;
    const rows = (list) => new Rows(list, () => copy("t-finding"), (row, one) => this.row(row, one));
    this.rows = rows(this.list);
    this.rest = rows(document.getElementById("findings-rest"));
    this.waitRows = new Rows(find("tbody", this.waits), () => copy("t-wait"), (row, one) => this.wait(row, one));
  }

  async fetch() {
    try {
      const since = this.span;
      const found = await json(`api/insights?since=${since}&limit=${ASKED}`);
      // Where there are more, waits may be among those that did not come.
      const full = found.length === ASKED;
      const waits = full ? await json(`api/insights?since=${since}&limit=${WAITED}&kind=waited`) : found;
      const waited = pairs(waits.filter((one) => one.kind === "waited")).slice(0, WAITS);
      Object.assign(this, { found, waited, unread: false, read: this.store.now() });
    } catch {
      this.unread = true; // what is known stays
    }
  }

  render() {
    show(document.getElementById("findings-unread"), this.unread);
    if (this.unread) show(document.getElementById("findings-empty"), false);
    if (!this.found) return;
    say(this.asOf, t("findings.as_of", { time: clock(this.read) }));
    show(this.asOf, true);
    const first = this.found.filter((one) => !minor(one)).slice(0, MOST);
    const rest = this.found.filter((one) => !first.includes(one));
    const { waited } = this;
    this.rows.show(first);
    this.rest.show(rest);
    this.waitRows.show(waited);
    const many = this.found.length === ASKED;
    say(find("summary", this.more), many ? t("findings.many", { n: number(rest.length) }) : n("findings.more", rest.length));
    show(this.list, first.length > 0);
    show(this.more, rest.length > 0);
    show(document.getElementById("findings-empty"), first.length === 0 && !this.unread);
    show(this.waits, waited.length > 0);
  }

  row(row, one) {
    const last = t("findings.last", { ago: ago(epoch(one.last_at), this.store.now()) });
    fill(row, { text: textOf(one, this.store.now()), last });
    this.named(row, `finding-${one.id}`);
    attribute(find(".all-calls", row), "href", `requests?finding=${encodeURIComponent(one.id)}&since=${this.span}`);
    attribute(find(".shows", row), "href", `?since=${this.span}&call=${encodeURIComponent(one.calls[0] ?? "")}`);
  }

  /** Each link's name is its word and the sentence that it belongs to. */
  named(row, id) {
    attribute(find("[data-f=text]", row), "id", id);
    for (const [place, own] of [[".shows", `${id}-call`], [".all-calls", `${id}-calls`]]) {
      attribute(find(place, row), "id", own);
      attribute(find(place, row), "aria-labelledby", `${own} ${id}`);
    }
  }

  wait(row, one) {
    const client = (text) => name(text ?? t("finding.client.unknown"));
    fill(row, {
      client: client(one.client),
      other: client(one.other),
      model: name(one.model ?? ""),
      seconds: seconds(one.seconds),
      calls: number(one.count),
      unit: n("waits.calls", one.count),
    });
  }
}

/** Whether it only tells of waits that were nothing, all together. */
const minor = (one) => ["waited", "runner_busy"].includes(one.kind) && (one.seconds ?? 0) < LITTLE;

/** The proxy's own words; what tells a time is written here, in the reader's zone. */
function textOf(one, now) {
  if (one.kind !== "outage") return one.text[document.documentElement.lang];
  const moments = [one.opened_at, one.last_at].map((at) => when(epoch(at), now));
  return n("findings.outage", one.count, { at: [...new Set(moments)].join(" \u2013 ") });
}

/** One for each client, for whom it waited and at which model; the longest first. */
function pairs(waits) {
  const found = new Map();
  for (const one of waits) {
    const key = JSON.stringify([one.client, one.other, one.model]);
    const same = found.get(key);
    found.set(key, same ? { ...same, seconds: same.seconds + one.seconds, count: same.count + one.count } : one);
  }
  return [...found.values()].sort((a, b) => b.seconds - a.seconds);
}
