// From the call in the sheet to the next newer or older one of the list it was opened from: by link, by
// j and k, or by the arrows.

import { attribute, json, show } from "./dom.js";
import { here } from "./here.js";
import { t } from "./i18n.js";

const KEYS = { j: "older", k: "newer", ArrowRight: "older", ArrowLeft: "newer" };
const LINKS = ["newer", "older", "same_client"];
const FILTERS = ["text", "state", "model", "client", "since", "until", "slower_than", "ended_after", "route", "reason", "finding", "insight"];

/** What the list asks for, its order aside: only the page of calls has filters in its address. */
function filters() {
  const asked = new URLSearchParams(location.search);
  const kept = location.pathname.endsWith("/requests") ? FILTERS.filter((name) => asked.get(name)) : [];
  return new URLSearchParams(kept.map((name) => [name, asked.get(name)]));
}

export class Neighbours {
  /** `go(id)` shows that call in the sheet. */
  constructor(sheet, go) {
    Object.assign(this, { sheet, go });
    this.links = Object.fromEntries(LINKS.map((key) => [key, document.getElementById(`call-${key}`)]));
    sheet.addEventListener("click", (event) => this.clicked(event));
    document.addEventListener("keydown", (event) => this.pressed(event));
  }

  /** Asks which they are; `wanted` says whether the sheet still shows this call. */
  async offer(id, wanted) {
    const found = await json(`api/requests/${encodeURIComponent(id)}/neighbours?${filters()}`).catch(() => ({}));
    if (!wanted()) return;
    this.found = found;
    for (const key of LINKS) {
      const next = found[key] ?? null;
      attribute(this.links[key], "href", next === null ? null : here({ call: next }));
      attribute(this.links[key], "aria-disabled", next === null ? "true" : null);
    }
    attribute(this.links.newer, "title", found.newer_unsought ? t("call.newer_unsought") : t("call.key", { k: "k" }));
    show(this.links.same_client, Boolean(found.same_client));
  }

  forget() {
    this.found = {};
  }

  clicked(event) {
    const key = LINKS.find((one) => this.links[one] === event.target.closest("a"));
    if (!key || event.ctrlKey || event.metaKey || event.shiftKey || event.button !== 0) return;
    event.preventDefault();
    this.follow(key);
  }

  pressed(event) {
    const key = KEYS[event.key];
    if (!key || !this.sheet.open || event.ctrlKey || event.metaKey || event.altKey || event.shiftKey) return;
    // A question may stand above the sheet.
    if (document.querySelectorAll("dialog[open]").length > 1 || event.target.closest("input, select, textarea")) return;
    event.preventDefault();
    this.follow(key);
  }

  follow(key) {
    if (this.found?.[key]) this.go(this.found[key]);
  }
}
