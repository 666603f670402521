// The one event stream of this page: opens it, notices silence, tries again, rests in hidden tabs.

import { json } from "./dom.js";

const WAITS = [1, 2, 4, 8, 15]; // seconds between tries, each ± 20 %
const SILENCE = 20;
const REST = 30;
const KINDS = ["snapshot", "started", "progress", "finished", "status", "numbers"];

export class Stream {
  /** `onEvent(kind, data)` per event; `onState()` when `state` changes: connecting, live, lost, resting. */
  constructor(url, onEvent, onState) {
    Object.assign(this, { url, onEvent, onState });
    this.state = "connecting";
    this.lastData = Date.now();
    this.retryAt = 0;
    this.tries = 0;
    this.opened = 0; // how often: what was missed before its first word is missed, too
    document.addEventListener("visibilitychange", () => this.visibility());
    addEventListener("pagehide", () => this.close("resting"));
    addEventListener("pageshow", (event) => event.persisted && this.open());
  }

  open() {
    this.close(this.state === "lost" ? "lost" : "connecting");
    this.retryAt = 0;
    this.openedAt = Date.now();
    this.opened += 1;
    const source = new EventSource(this.url);
    this.source = source;
    for (const kind of KINDS) {
      source.addEventListener(kind, (event) => {
        if (this.source === source) this.receive(kind, event.data);
      });
    }
    source.onerror = () => {
      if (this.source !== source) return;
      // Closed by the browser: something answered, but no stream. Why, only another request tells.
      if (source.readyState === EventSource.CLOSED) json("api/status").catch(() => {});
      this.lose();
    };
  }

  receive(kind, text) {
    this.lastData = Date.now();
    this.tries = 0;
    if (this.state !== "live") this.become("live");
    this.onEvent(kind, JSON.parse(text));
  }

  lose() {
    this.close("lost");
    const wait = WAITS[Math.min(this.tries, WAITS.length - 1)];
    this.tries += 1;
    this.retryAt = Date.now() + wait * 1000 * (0.8 + Math.random() * 0.4);
    this.timer = setTimeout(() => this.open(), this.retryAt - Date.now());
  }

  tryNow() {
    this.tries = 0;
    this.open();
  }

  close(state) {
    clearTimeout(this.timer);
    this.source?.close();
    this.source = null;
    this.become(state);
  }

  become(state) {
    if (this.state === state) return;
    this.state = state;
    this.onState();
  }

  /** Once a second: a stream that says nothing for long is as good as broken. */
  check() {
    if (!this.source) return;
    const since = Math.max(this.lastData, this.openedAt);
    if (Date.now() - since > SILENCE * 1000) this.lose();
  }

  visibility() {
    clearTimeout(this.resting);
    if (!document.hidden) {
      if (this.state === "resting") this.open();
      return;
    }
    this.resting = setTimeout(() => this.close("resting"), REST * 1000);
  }

  /** Seconds without data. */
  get silence() {
    return (Date.now() - this.lastData) / 1000;
  }

  /** Seconds until the next try, 0 while trying. */
  get wait() {
    return this.retryAt ? Math.max(0, (this.retryAt - Date.now()) / 1000) : 0;
  }
}
