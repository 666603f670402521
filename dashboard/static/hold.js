// Whether somebody is reading a list, so that its rows must not move; and the pill that counts
// what waits. Reading: the mouse is over it, focus or a selection is in it, its top is scrolled away.

import { find, say, show } from "./dom.js";
import { n } from "./format.js";
import { t } from "./i18n.js";

export class Hold {
  /** `onRelease()` when reading ends or the pill is pressed. */
  constructor(section, onRelease) {
    this.section = section;
    this.onRelease = onRelease;
    this.list = find(".list", section);
    this.pill = find(".pill", section);
    this.pointed = this.focused = this.past = false;
    this.list.addEventListener("pointerenter", (event) => this.set("pointed", event.pointerType !== "touch"));
    this.list.addEventListener("pointerleave", () => this.set("pointed", false));
    // A mouse click leaves focus behind where nobody reads: only focus that shows counts.
    this.list.addEventListener("focusin", (event) => this.set("focused", event.target.matches(":focus-visible")));
    this.list.addEventListener("focusout", () => this.set("focused", false));
    const head = find(".block-head", section);
    new IntersectionObserver(([entry]) => {
      this.set("past", !entry.isIntersecting && entry.boundingClientRect.top < 0);
    }).observe(head);
    this.pill.addEventListener("click", () => {
      this.pressed = true; // until the rows that waited are drawn
      this.onRelease();
    });
    this.pill.addEventListener("blur", () => this.count(0));
  }

  set(what, value) {
    if (this[what] === value) return;
    const before = this.held;
    this[what] = value;
    if (before && !this.held) this.onRelease();
  }

  get held() {
    if (this.pressed) return false;
    return this.pointed || this.focused || this.past || this.selected || Boolean(find("dialog[open]"));
  }

  get selected() {
    const selection = getSelection();
    return Boolean(selection && !selection.isCollapsed && this.list.contains(selection.anchorNode));
  }

  /** Shows how many rows wait. A pill that has focus stays, so that focus is not lost. */
  count(waiting) {
    this.pressed = false;
    const focused = document.activeElement === this.pill;
    show(this.pill, waiting > 0 || focused);
    if (waiting > 0) say(this.pill, n("recent.new", waiting));
    else if (focused) say(this.pill, t("recent.shown"));
  }
}

/** Runs `change` so that `section` stays where it is on the screen, if somebody reads it. */
export function steady(section, change) {
  if (!section) {
    change();
    return;
  }
  const before = section.getBoundingClientRect().top;
  change();
  let moved = section.getBoundingClientRect().top - before;
  if (Math.abs(moved) < 1) return;
  scrollBy({ top: moved, behavior: "instant" });
  moved = section.getBoundingClientRect().top - before;
  if (moved < -0.5) {
    // What stood above has shrunk and the page can't scroll up: keep its room until the reader goes.
    section.style.marginTop = `${(parseFloat(section.style.marginTop) || 0) - moved}px`;
  }
}
