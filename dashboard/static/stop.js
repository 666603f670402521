// Stops a running call, from its row or from its sheet, when a person has said so twice.

import { who } from "./calls.js";
import { fill, find, full, json, say, show } from "./dom.js";
import { none, visible } from "./format.js";
import { t } from "./i18n.js";
import { troubleOf } from "./trouble.js";

export class Stop {
  /** `done(call)` is told of a call that was stopped, as it was recorded. */
  constructor(store, done) {
    Object.assign(this, { store, done, asked: null });
    this.dialog = document.getElementById("stop");
    this.yes = document.getElementById("stop-yes");
    this.no = document.getElementById("stop-no");
    document.addEventListener("click", ({ target }) => this.ask(target.closest("button.stop")));
    this.no.addEventListener("click", () => this.dialog.close());
    this.yes.addEventListener("click", () => this.stop());
    this.dialog.addEventListener("close", () => this.closed());
  }

  ask(button) {
    if (!button) return;
    const { id, call } = button.closest("[data-id], [data-call]").dataset;
    const running = this.store.active.get(id ?? call);
    this.button = button;
    this.asked = id ?? call;
    // A sheet may know of a call that the page has not been told of.
    const named = running ? who(running) : { client: t("call", { id: visible(this.asked) }), model: none(t("unknown")) };
    this.client = full(named.client);
    fill(this.dialog, { ...named, trouble: "" });
    say(this.no, t("stop.no"));
    show(this.yes, true);
    this.dialog.showModal();
  }

  async stop() {
    const { asked, client } = this;
    if (this.waits) return;
    this.waits = true;
    try {
      const call = await json(`api/requests/${encodeURIComponent(asked)}/cancel`, "POST");
      if (asked === this.asked) this.dialog.close();
      this.done(call);
      document.getElementById("shout").textContent = t("stop.done", { client });
    } catch (error) {
      if (asked === this.asked) this.failed(error);
    } finally {
      this.waits = false;
    }
  }

  /** A call has ended by itself: of the one that is asked about there is nothing left to stop. */
  ended(id) {
    if (id === this.asked && !this.waits) this.failed({ status: 409 });
  }

  failed(error) {
    const ended = error.status === 409;
    const trouble = ended ? t("stop.ended") : t("stop.failed", { reason: troubleOf(error) });
    fill(this.dialog, { trouble });
    if (!ended) return;
    say(this.no, t("call.close"));
    this.no.focus();
    show(this.yes, false);
  }

  /** The focus goes back; where the button has gone meanwhile, to its row, its sheet or the page. */
  closed() {
    this.asked = null;
    const row = this.button.closest("tr");
    const places = [this.button, row && find("a", row), "call-title", "main"];
    for (const place of places) {
      const element = typeof place === "string" ? document.getElementById(place) : place;
      element?.focus({ preventScroll: true });
      if (document.activeElement === element) break;
    }
  }
}
