// One call in a sheet, fetched when asked for. Its prompt and its answer are shown as plain text.

import { bar } from "./bars.js";
import { endOf, estimated, excused, noteOf, phases, who } from "./calls.js";
import { offerCheck } from "./check.js";
import { showContent } from "./content.js";
import { fill, find, json, mark, say, show } from "./dom.js";
import { clock, epoch, n, none, number, seconds, size, speed, unknown, visible } from "./format.js";
import { here } from "./here.js";
import { t } from "./i18n.js";
import { insightsOf } from "./insights.js";
import { moreOf } from "./more.js";
import { offerReplay } from "./replay.js";
import { beside, short } from "./short.js";

const AGAIN = 2000; // milliseconds, while the call runs

/** A text of several lines, in which nothing can turn the others round. */
const lines = (text) => text.split("\n").map(visible).join("\n");

export class Detail {
  constructor(store) {
    this.store = store;
    this.sheet = document.getElementById("call");
    this.body = document.getElementById("call-body");
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

  /** Shows what the address says. */
  follow() {
    this.id = new URLSearchParams(location.search).get("call");
    if (!this.id) {
      if (this.sheet.open) this.sheet.close();
      return;
    }
    if (!this.sheet.open) this.sheet.showModal();
    this.load();
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
    const known = this.store.active.get(id) ?? this.store.recent.find((call) => call.id === id);
    fill(this.sheet, { client: known ? who(known).client : t("call", { id: visible(id) }) });
    show(this.body, false);
    this.sheet.dataset.call = id;
    show(document.getElementById("call-check"), false);
    this.message(t("call.loading"), false);
    document.getElementById("call-title").focus();
    try {
      const call = await json(`api/requests/${encodeURIComponent(id)}`);
      if (id !== this.id) return;
      this.show(call);
      this.again(call);
      this.keepUp(call);
    } catch (error) {
      if (id !== this.id) return;
      const gone = error.status === 404;
      this.message(gone ? t("call.gone") : t("call.unread", { reason: visible(error.message) }), !gone);
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
    mark(find(".state", this.body), call.state);
    show(find(".stop", this.body), call.state === "running");
    const state = t(`state.${call.state}`);
    const head = { ...who(call), state, note: noteOf(call), total: seconds(call.duration), short: short(call) };
    fill(this.sheet, excused(call, { ...head, ...this.numbers(call) }));
    const unread = call.not_understood;
    fill(this.sheet, { error: lines(call.error ?? ""), id: call.id, unread: n("call.not_understood", unread) });
    show(document.getElementById("call-unread"), unread > 0);
    show(document.getElementById("call-untimed"), call.duration === null);
    show(document.getElementById("call-error-box"), Boolean(call.error));
    this.more(call);
    document.getElementById("call-beside").href = beside(call);
    this.waterfall(call);
    const options = call.options && JSON.stringify(call.options, null, 2);
    showContent(this.body, "options", options ?? null);
    showContent(this.body, "prompt", call.prompt);
    showContent(this.body, "response", call.response);
  }

  /** What can be done with a call that was kept whole. */
  async again(call) {
    const kept = await offerReplay(call.id, () => call.id === this.id);
    if (call.id !== this.id) return;
    this.sheet.dataset.call = call.id;
    offerCheck(this.sheet, call, kept);
  }

  numbers(call) {
    const counted = (value) => (value === null ? unknown() : number(value));
    const none_ = none(t("unknown"));
    const guess = call.output_tokens_estimated;
    const start = clock(epoch(call.started_at));
    const end = call.state === "running" ? t("axis.now") : clock(endOf(call));
    return {
      started: call.duration === null ? t("call.no_end", { time: start }) : `${start} \u2013 ${end}`,
      request: visible(`${call.method} ${call.path}`),
      first: seconds(call.time_to_first_token),
      tokens_in: counted(call.input_tokens),
      tokens_out: guess === null ? counted(call.output_tokens) : estimated(guess),
      pieces: counted(call.output_chunks),
      speed: call.tokens_per_second === null ? none_ : `${speed(call.tokens_per_second)} ${t("unit.tok_s")}`,
      status: call.status_code === null ? none_ : String(call.status_code),
      stop: call.done_reason === null ? none_ : visible(call.done_reason),
      bytes: call.duration === null ? none_ : `${size(call.request_bytes)}, ${size(call.response_bytes)}`,
    };
  }

  /** Numbers that not every call has: those without one are not shown. */
  more(call) {
    const known = { ...moreOf(call), ...insightsOf(call) };
    for (const line of this.body.querySelectorAll("[data-more]")) {
      const text = known[line.dataset.more] ?? "";
      show(line, text !== "");
      fill(line, { [line.dataset.more]: text });
    }
  }

  waterfall(call) {
    const parts = new Map();
    let from = 0;
    for (const [kind, value] of phases(call)) {
      parts.set(kind, [from, value]);
      from += value;
    }
    for (const line of this.body.querySelectorAll("[data-phase]")) {
      const kind = line.dataset.phase;
      const part = parts.get(kind);
      show(line, part !== undefined);
      if (!part) continue;
      const [start, value] = part;
      const at = (moment) => (from ? (moment / from) * 100 : 0);
      bar(find("svg", line), [[kind, at(start), at(start + value)]]);
      const spent = seconds(value);
      say(find(".num", line), kind === "queue" ? t("estimate", { s: spent }) : spent);
    }
  }
}
