// The line on programs that go past the proxy: asked for now and then. The same rule as in passing_by.py.

import { find, json, say, show } from "./dom.js";
import { ago, epoch, n, name } from "./format.js";
import { t } from "./i18n.js";

const FRESH = 3600; // seconds
const UNKNOWN = "(unknown)"; // as bypass.py has it

export class AroundView {
  constructor(store) {
    this.store = store;
    this.place = document.getElementById("around");
    this.programs = null; // until they are fetched the first page's line stands
  }

  async fetch() {
    try {
      this.programs = (await json("api/around")).programs;
    } catch {
      // What is known stays.
    }
  }

  render() {
    if (!this.programs) return;
    const now = this.store.now();
    const fresh = this.programs.filter((one) => epoch(one.last_seen) > now - FRESH);
    show(this.place, fresh.length > 0);
    if (!fresh.length) return;
    const [last] = fresh;
    const [named] = [name(last.name === UNKNOWN ? t("around.unknown") : last.name, 40)].flat();
    say(find("[data-f=around]", this.place), n("around.line", fresh.length, { name: named, ago: ago(epoch(last.last_seen), now) }));
  }
}
