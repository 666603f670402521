// The switches: theme without a reload, lines to copy, pause.

import { find, say, show } from "./dom.js";
import { clock, n } from "./format.js";
import { t } from "./i18n.js";

const YEAR = 365 * 86400;

/** The choice is kept in the same cookie that the server sets for pages without script. */
export function theme() {
  const group = document.getElementById("theme");
  group.addEventListener("click", (event) => {
    const choice = event.target.closest("[data-theme-choice]");
    if (!choice || event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    const { themeChoice } = choice.dataset;
    document.documentElement.dataset.theme = themeChoice;
    document.cookie = `ollama_proxy_theme=${themeChoice}; Max-Age=${YEAR}; SameSite=Strict`;
    for (const link of group.children) link.removeAttribute("aria-current");
    choice.setAttribute("aria-current", "true");
  });
}

/** The page's own name in the navigation is in view where that is too long for its row. */
export function navigation() {
  const row = document.getElementById("views");
  const here = find("[aria-current=page]", row);
  row.scrollLeft = here.offsetLeft - row.offsetLeft - (row.clientWidth - here.offsetWidth) / 2;
}

/** A copy button says what happened in its own place; where the clipboard is refused, it selects. */
export function copying() {
  document.addEventListener("click", async (event) => {
    const button = event.target.closest("[data-copy]");
    if (!button) return;
    const source = document.getElementById(button.dataset.copy);
    const label = button.dataset.label ?? button.textContent;
    button.dataset.label = label;
    try {
      await navigator.clipboard.writeText(source.whole ?? source.textContent);
      button.textContent = t("copied");
    } catch {
      getSelection().selectAllChildren(source);
      button.textContent = t("copy.by_hand");
    }
    setTimeout(() => (button.textContent = label), 3000);
  });
}

/** Freezes all that is drawn; what ends meanwhile is counted. */
export class Pause {
  constructor(store, painter) {
    Object.assign(this, { store, painter });
    this.button = document.getElementById("pause");
    this.line = document.getElementById("paused");
    this.button.addEventListener("click", () => this.toggle());
    find("button", this.line).addEventListener("click", () => {
      this.toggle();
      this.button.focus();
    });
  }

  toggle() {
    const paused = !this.painter.paused;
    this.painter.paused = paused;
    this.since = Date.now() / 1000;
    this.ended = this.store.ended;
    this.button.setAttribute("aria-pressed", String(paused));
    show(this.line, paused);
    this.count();
    if (!paused) this.painter.ask(true);
  }

  count() {
    if (!this.painter.paused) return;
    const time = clock(this.since);
    say(find("span", this.line), n("paused", this.store.ended - this.ended, { time }));
  }
}
