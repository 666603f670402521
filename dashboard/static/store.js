// What the page knows: the last status, the running calls, the latest ended ones, models, statistics.
// Events change it; nothing here touches the document.

import { endOf } from "./calls.js";
import { epoch } from "./format.js";

const KEPT = 200;
const LINGER = 10; // seconds that an ended call stays where it ran

export class Store {
  constructor(data) {
    this.status = data.status;
    this.stats = data.stats;
    this.models = data.models;
    this.active = new Map();
    this.lingering = new Map();
    this.recent = [];
    this.ended = 0; // calls that ended since the page was opened
    // A proxy elsewhere may have another clock; on the same machine only the page's way here differs.
    const ahead = data.now - Date.now() / 1000;
    this.ahead = Math.abs(ahead) < 2 ? 0 : ahead;
    this.frozen = null;
    this.replaceActive(data.active);
    this.merge(data.recent);
  }

  /** Seconds since 1970 by the proxy's clock; stands still while no data comes. */
  now() {
    return this.frozen ?? Date.now() / 1000 + this.ahead;
  }

  freeze(since) {
    this.frozen = since === null ? null : since / 1000 + this.ahead;
  }

  /** Takes one event; returns whether calls began or ended with it. */
  apply(kind, data) {
    if (kind === "snapshot") {
      this.status = data.status;
      this.replaceActive(data.active);
      this.merge(data.recent);
      return true;
    }
    if (kind === "status") {
      this.status = data;
    } else if (kind === "numbers") {
      this.models = data.models;
      this.stats = { all: data.all };
    } else if (kind === "progress") {
      for (const part of data) this.progress(part);
    } else if (kind === "started") {
      if (!this.has(data.id)) this.active.set(data.id, data);
      this.countActive();
      return true;
    } else if (kind === "finished") {
      this.active.delete(data.id);
      this.lingering.set(data.id, { call: data, until: this.now() + LINGER });
      this.ended += 1;
      this.countActive();
      this.merge([data]);
      return true;
    }
    return false;
  }

  /** The status comes once a second; what runs is known at once. */
  countActive() {
    this.status = { ...this.status, active_requests: this.active.size };
  }

  progress(part) {
    const call = this.active.get(part.id);
    if (call) this.active.set(part.id, { ...call, ...part, model: part.model ?? call.model });
  }

  replaceActive(calls) {
    this.active = new Map(calls.map((call) => [call.id, call]));
  }

  has(id) {
    return this.active.has(id) || this.recent.some((call) => call.id === id);
  }

  /** Adds ended calls, latest end first; what is known already is replaced. */
  merge(calls) {
    const ended = calls.filter((call) => call.state !== "running");
    if (!ended.length) return;
    const known = new Map(this.recent.map((call) => [call.id, call]));
    for (const call of ended) known.set(call.id, call);
    this.recent = [...known.values()].sort((a, b) => endOf(b) - endOf(a)).slice(0, KEPT);
  }

  /** Seconds that a running call has taken by now. */
  elapsed(call) {
    return Math.max(call.duration ?? 0, this.now() - epoch(call.started_at));
  }

  /** Calls for the lanes: running ones, and those that ended a moment ago. */
  lanes() {
    const now = this.now();
    for (const [id, { until }] of this.lingering) if (now > until) this.lingering.delete(id);
    const calls = [...this.active.values(), ...[...this.lingering.values()].map(({ call }) => call)];
    return calls.sort((a, b) => (a.id < b.id ? -1 : 1));
  }

  get empty() {
    return !this.status.total_requests && !this.active.size && !this.recent.length;
  }
}
