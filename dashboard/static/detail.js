// The sheet of one call: opens by a row or by the address, fetches the call, follows it while it runs.

import { who } from "./calls.js";
import { showCall } from "./call-view.js";
import { offerCheck } from "./check.js";
import { fill, find, json, show } from "./dom.js";
import { visible } from "./format.js";
import { here } from "./here.js";
import { t } from "./i18n.js";
import { Neighbours } from "./neighbours.js";
import { offerReplay } from "./replay.js";
import { troubleOf } from "./trouble.js";

const AGAIN = 1000; // milliseconds, while the call runs

export class Detail {
  constructor(store) {
    this.store = store;
    this.sheet = document.getElementById("call");
    this.body = document.getElementById("call-body");
    this.neighbours = new Neighbours(this.sheet, (id) => this.go(id));
    document.getElementById("call-close").addEventListener("click", () => this.sheet.close());
    document.getElementById("call-retry").addEventListener("click", () => this.load());
    this.sheet.addEventListener("close", () => this.closed());
    this.sheet.addEventListener("click", (event) => event.target === this.sheet && this.sheet.close());
    document.addEventListener("click", (event) => this.clicked(event));
    addEventListener("popstate", () => this.follow());
    this.follow();
  }

  clicked(event) {
    const link = event.target.closest("a");
    const shows = event.target.closest("a.shows");
    const row = shows ?? event.target.closest("tr[data-id].call, tr[data-id].lane");
    if (!row || event.target.closest("button") || (link && !shows && !link.classList.contains("open")) || !getSelection().isCollapsed) return;
    if (event.ctrlKey || event.metaKey || event.shiftKey || event.button !== 0) return;
    event.preventDefault();
    this.row = row;
    this.pushed = true;
    const call = shows ? new URLSearchParams(shows.search).get("call") : row.dataset.id;
    history.pushState(null, "", here({ call }));
    this.follow();
  }

  /** Another call in the same sheet: one step back still leads to the list. */
  go(id) {
    history.replaceState(null, "", here({ call: id }));
    this.row = document.querySelector(`tr[data-id="${CSS.escape(id)}"]`) ?? this.row;
    this.follow();
  }

  /** Shows what the address says. */
  follow() {
    this.id = new URLSearchParams(location.search).get("call");
    if (!this.id) {
      if (this.sheet.open) this.sheet.close();
      return;
    }
    this.name();
    if (!this.sheet.open) this.sheet.showModal();
    this.load();
  }

  /** The sheet's name, before more of the call is known. */
  name() {
    const { id } = this;
    const known = this.store.active.get(id) ?? this.store.recent.find((call) => call.id === id);
    fill(this.sheet, { client: known ? who(known).client : t("call", { id: visible(id) }) });
  }

  closed() {
    const { id, pushed } = this;
    this.id = null;
    this.pushed = false;
    if (id && pushed) history.back();
    else if (id) history.replaceState(null, "", here({ call: null }));
    const link = this.row?.isConnected ? (find("a", this.row) ?? this.row) : document.getElementById("main");
    link.focus({ preventScroll: true });
  }

  async load() {
    const { id } = this;
    show(this.body, false);
    this.sheet.dataset.call = id;
    this.neighbours.forget();
    show(document.getElementById("call-check"), false);
    this.message(t("call.loading"), false);
    document.getElementById("call-title").focus();
    try {
      const call = await json(`api/requests/${encodeURIComponent(id)}`);
      if (id !== this.id) return;
      this.show(call);
      this.again(call);
      this.keepUp(call);
      this.neighbours.offer(id, () => id === this.id);
    } catch (error) {
      if (id !== this.id) return;
      const gone = error.status === 404;
      this.message(gone ? t("call.gone") : t("call.unread", { reason: troubleOf(error) }), !gone);
    }
  }

  /** What runs is asked for again now and then, until it has ended or the sheet is closed. */
  keepUp(call) {
    clearTimeout(this.timer);
    if (call.state !== "running") return;
    this.timer = setTimeout(async () => {
      const fresh = this.id === call.id && !document.hidden
        ? await json(`api/requests/${encodeURIComponent(call.id)}`)
          .catch((error) => (error.status === 404 ? null : call))
        : call;
      if (this.id !== call.id) return;
      if (!fresh) {
        this.message(t("call.gone"), false);
        show(this.body, false);
        return;
      }
      if (fresh !== call) this.show(fresh);
      if (fresh.state !== "running") this.again(fresh);
      this.keepUp(fresh);
    }, AGAIN);
  }

  message(text, retry) {
    const place = document.getElementById("call-message");
    fill(this.sheet, { message: text });
    show(place, text !== "");
    show(document.getElementById("call-retry"), retry);
  }

  show(call) {
    this.message("", false);
    show(this.body, true);
    showCall(this.sheet, this.body, call);
  }

  /** What can be done with a call that was kept whole. */
  async again(call) {
    const kept = await offerReplay(call.id, () => call.id === this.id);
    if (call.id !== this.id) return;
    this.sheet.dataset.call = call.id;
    offerCheck(this.sheet, call, kept);
  }
}
