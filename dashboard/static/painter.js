// When the page is redrawn: one animation frame for all that came, at most twice a second.

const GAP = matchMedia("(prefers-reduced-motion: reduce)").matches ? 1000 : 500; // milliseconds

export class Painter {
  constructor(paint) {
    this.paint = paint;
    this.last = 0;
    this.asked = false;
    this.paused = false;
  }

  /** Asks for a redraw; `now` skips the gap, for what a person has just done. Paused: nothing. */
  ask(now = false) {
    if (this.paused) return;
    if (now) {
      clearTimeout(this.timer);
      this.asked = false;
    }
    if (this.asked) return;
    this.asked = true;
    const wait = now ? 0 : Math.max(0, this.last + GAP - performance.now());
    this.timer = setTimeout(() => requestAnimationFrame(() => this.frame()), wait);
  }

  frame() {
    if (!this.asked) return;
    this.asked = false;
    this.last = performance.now();
    this.paint();
  }
}
