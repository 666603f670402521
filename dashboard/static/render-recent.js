// The latest ended calls, the newest on top. While somebody reads the list, new ones wait.

import { scaleFor } from "./bars.js";
import { showCall } from "./call-row.js";
import { copy, find, say, show } from "./dom.js";
import { seconds } from "./format.js";
import { Hold } from "./hold.js";
import { Rows } from "./rows.js";

export class RecentView {
  constructor(store, again) {
    this.store = store;
    this.section = document.getElementById("recent");
    this.list = document.getElementById("recent-list");
    this.axis = find("[data-f=scale]", this.section);
    this.hold = new Hold(this.section, again);
    this.rows = new Rows(
      find("tbody", this.section),
      () => copy("t-call"),
      (row, call) => this.row(row, call),
    );
    this.scale = 1;
  }

  render() {
    const calls = this.chosen();
    if (!this.hold.held || this.scale === 1) this.scale = scaleFor(calls);
    say(this.axis, String(seconds(this.scale)));
    this.rows.show(calls);
    this.last = calls;
    show(this.list, calls.length > 0);
    const unread = !document.getElementById("recent-unread").hidden;
    show(document.getElementById("recent-empty"), !calls.length && !unread);
  }

  chosen() {
    const calls = this.store.recent;
    if (!this.rows.size || !this.hold.held) {
      this.hold.count(0);
      return calls;
    }
    const shown = calls.filter((call) => this.rows.has(call.id));
    this.hold.count(calls.length - shown.length);
    if (shown.length === this.rows.size) return shown;
    // A row that 200 newer ones have pushed out stays as long as it is read.
    const known = new Map((this.last ?? []).map((call) => [call.id, call]));
    for (const call of shown) known.delete(call.id);
    return [...shown, ...known.values()];
  }

  row(row, call) {
    showCall(row, call, this.store.now(), this.scale);
  }
}
