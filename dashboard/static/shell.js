// What every page has: its language, the stream, the status line, the switches, the sheet of one call.

import { learn } from "./calls.js";
import { Pause, copying, navigation, theme } from "./controls.js";
import { Detail } from "./detail.js";
import { json, say, show } from "./dom.js";
import { size } from "./format.js";
import { speak, t } from "./i18n.js";
import { Painter } from "./painter.js";
import { StatusView } from "./render-status.js";
import { Stop } from "./stop.js";
import { Store } from "./store.js";
import { Stream } from "./stream.js";

export class Shell {
  /** `render()` draws what stands on the page; `heard(kind, changed, value)` is told of each event. */
  constructor({ render, heard }) {
    const data = JSON.parse(document.getElementById("data").textContent);
    speak(data.language, data.words);
    learn(data.paths);
    this.data = data;
    this.store = new Store(data);
    this.painter = new Painter(() => this.paint());
    this.stream = new Stream("api/events", (kind, value) => this.event(kind, value), () => this.changed());
    this.status = new StatusView(this.store, this.stream, data.product);
    this.pause = new Pause(this.store, this.painter);
    this.database = document.getElementById("database");
    Object.assign(this, { render, heard });
  }

  /** Once all that `render` needs is there. */
  start() {
    navigation();
    theme();
    copying();
    const detail = new Detail(this.store);
    this.stop = new Stop(this.store, (call) => call.id === detail.id && detail.show(call));
    const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
    say(document.getElementById("zone"), t("foot.zone", { zone }));
    setInterval(() => {
      this.stream.check();
      this.painter.ask();
    }, 1000);
    setInterval(() => this.rest(), 30_000);
    this.painter.ask(true);
    this.stream.open();
  }

  /** Draws at once, for what a person has just done. */
  again() {
    this.painter.ask(true);
  }

  /** Whether it makes sense to fetch anything. */
  get awake() {
    return this.stream.state === "live" && !this.painter.paused;
  }

  paint() {
    this.status.render();
    this.render();
    const bytes = this.store.status.database_bytes;
    show(this.database, bytes !== null);
    if (bytes !== null) say(this.database, t("foot.database", { size: size(bytes) }));
  }

  event(kind, value) {
    this.heard(kind, this.store.apply(kind, value), value);
    if (kind === "finished") this.stop?.ended(value.id);
    this.status.tab();
    this.pause.count();
    this.painter.ask();
  }

  changed() {
    const { stream } = this;
    this.store.freeze(stream.state === "lost" ? stream.lastData : null);
    this.painter.ask();
  }

  /** A hidden tab without stream still asks now and then, so that its title and icon are true. */
  async rest() {
    if (this.stream.state !== "resting") return;
    this.store.status = await json("api/status").catch(() => this.store.status);
    this.status.tab();
  }
}
