// A chart by keyboard, for eye and ear: a slider over those of its steps of which anything is known.
// A screen reader says a slider's new value by itself, and only the last one where keys come fast.

import { attribute } from "./dom.js";

const MOVES = { ArrowLeft: -1, ArrowRight: 1, PageDown: -10, PageUp: 10, Home: -Infinity, End: Infinity };
const ZOOMS = { "+": 0.5, "=": 0.5, "-": 2, "_": 2 };
const LEAST = 300; // seconds of a span, where it is zoomed by keys
const SLIDER = ["role", "aria-labelledby", "aria-describedby", "aria-valuemin", "aria-valuemax", "aria-valuenow", "aria-valuetext"];

export class Keys {
  /** `place` stays, whatever is drawn in it; `name` and `help` are ids of what is read with it.
   * `open(at)`, `zoom(since, until)` and `back()` do what a click, a drag and the browser's button do. */
  constructor(place, name, help, { open, zoom, back }) {
    Object.assign(this, { place, name, help, open, zoom, back });
    this.at = null; // the step in words, once somebody has moved
    place.addEventListener("keydown", (event) => this.pressed(event));
    place.addEventListener("focus", () => place.matches(":focus-visible") && this.point());
    place.addEventListener("blur", () => this.leave());
  }

  /** What is drawn from now on: `known` its steps, `tell(at)` one of them in words. */
  take(plot, told, known, tell) {
    Object.assign(this, { plot, told, known, tell });
    // Taken out of the order, not out of the page: who is here stays, and can go back.
    this.place.tabIndex = known.length ? 0 : -1;
    if (!known.length) {
      for (const name of SLIDER) this.place.removeAttribute(name);
      return;
    }
    this.place.setAttribute("role", "slider");
    this.place.setAttribute("aria-labelledby", this.name);
    this.place.setAttribute("aria-describedby", this.help);
    this.say();
    if (this.at !== null && document.activeElement === this.place) this.point();
  }

  /** Where it stands among the known steps: at the last one, as long as nobody has moved. */
  get index() {
    const after = this.at === null ? -1 : this.known.findIndex((at) => at >= this.at);
    return after < 0 ? this.known.length - 1 : after;
  }

  say() {
    attribute(this.place, "aria-valuemin", 1);
    attribute(this.place, "aria-valuemax", this.known.length);
    attribute(this.place, "aria-valuenow", this.index + 1);
    attribute(this.place, "aria-valuetext", this.tell(this.known[this.index]));
  }

  /** Moves the cursor there; that of the other charts follows. */
  point() {
    if (!this.known.length) return;
    this.at = this.known[this.index];
    this.say();
    this.plot.setCursor({ left: this.plot.valToPos(this.at, "x"), top: 0 }, true, true);
  }

  leave() {
    this.at = null;
    if (this.known.length) this.plot.setCursor({ left: -10, top: -10 }, true, true);
  }

  pressed(event) {
    if (event.ctrlKey || event.altKey || event.metaKey) return;
    const { key } = event;
    if (key === "Escape") this.back();
    else if (!this.known.length) return;
    else if (key in MOVES) this.move(MOVES[key]);
    else if (key in ZOOMS) this.widen(ZOOMS[key]);
    else if (key === "Enter") this.open(this.known[this.index]);
    else return;
    event.preventDefault();
  }

  move(by) {
    // Who has moved nothing yet sees first where that is.
    if (this.at !== null) this.at = this.known[Math.max(0, Math.min(this.known.length - 1, this.index + by))];
    this.point();
  }

  /** The span times `factor`, around the cursor, and not past the present. */
  widen(factor) {
    const { since, until, now, step } = this.told;
    const span = Math.max(LEAST, (until - since) * factor);
    if (factor < 1 && span >= until - since) return;
    const middle = this.known[this.index] + step / 2;
    const end = Math.min(Math.ceil(now / step) * step, middle + span / 2);
    this.zoom(end - span, end);
  }
}
