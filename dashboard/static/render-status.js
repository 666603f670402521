// The status line, the notices under it, the tab's title and icon, and what is read aloud of them.

import { attribute, copy, fill, find, mark, say, show } from "./dom.js";
import { t } from "./i18n.js";
import { Rows } from "./rows.js";
import { asOf, health, lostLine, notices, statusLine, title } from "./status.js";

const ICONS = { waiting: "attention", failing: "attention", stopping: "attention", down: "down" };
const WORST = ["down", "stranger"];
const GRACE = 2; // seconds without connection before it is worth a word
const POLITE = 10_000;

export class StatusView {
  constructor(store, stream, product) {
    Object.assign(this, { store, stream, product });
    this.line = document.getElementById("line");
    this.page = document.getElementById("page");
    this.icon = document.getElementById("favicon");
    this.tryNow = document.getElementById("try-now");
    this.tryNow.addEventListener("click", () => stream.tryNow());
    this.notices = new Rows(
      document.getElementById("notices"),
      ({ id }) => {
        const notice = copy("t-notice");
        notice.className = `notice ${WORST.includes(id) ? "bad" : "attention"}`;
        return notice;
      },
      (row, notice) => {
        fill(row, notice);
        const link = find("a", row);
        show(link, Boolean(notice.href));
        attribute(link, "href", notice.href ?? null);
      },
    );
    this.health = store.status.status;
    this.spoke = 0;
  }

  get lost() {
    return this.stream.state === "lost" && this.stream.silence > GRACE;
  }

  /** The line; once a second and at each change. */
  render() {
    const { status } = this.store;
    const sign = this.lost ? "lost" : health(status);
    attribute(this.line, "data-health", sign);
    mark(find(".health", this.line), sign);
    fill(
      this.line,
      this.lost
        ? lostLine(this.stream.silence, this.stream.wait, this.stream.lastData / 1000)
        : statusLine(status, this.store.now()),
    );
    show(this.tryNow, this.lost);
    this.stale();
    this.notices.show(notices(status, this.store.recent, this.store.now()));
    this.tab();
    this.speak(this.lost ? "lost" : status.status);
  }

  /** What stands below is as it was when the last data came: it says so. */
  stale() {
    attribute(this.page, "data-stale", this.lost ? "" : null);
    for (const place of this.page.querySelectorAll(".as-of")) {
      if (this.lost) say(place, asOf(this.stream.lastData / 1000));
      show(place, this.lost);
    }
  }

  /** The title and the icon: also while nothing is drawn, for they are seen then. */
  tab() {
    const { status } = this.store;
    const text = title(status, this.product, this.lost);
    if (document.title !== text) document.title = text;
    const kind = this.lost ? "attention" : (ICONS[health(status)] ?? "ok");
    const href = this.icon.getAttribute("href").replace(/icon-\w+\.svg/, `icon-${kind}.svg`);
    attribute(this.icon, "href", href);
  }

  speak(state) {
    const before = this.health;
    if (before === state || (state !== "down" && Date.now() - this.spoke < POLITE)) return;
    this.health = state;
    if (state === "down") {
      document.getElementById("shout").textContent = t("say.down");
    } else if (state === "lost" || state === "stopping") {
      this.whisper(t(state === "lost" ? "say.lost" : "say.stopping"));
    } else if (before === "lost" || before === "down") {
      document.getElementById("shout").textContent = "";
      this.whisper(t(before === "lost" ? "say.back" : "say.up"));
    }
  }

  whisper(text) {
    this.spoke = Date.now();
    document.getElementById("say").textContent = text;
  }
}
