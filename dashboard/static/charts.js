// The page of charts: asks for the series of the span in the address, and draws it. A drag zooms, a
// click leads to the calls of that moment; all charts share one cursor.

import { draw } from "./chart.js";
import { find, json, say, show } from "./dom.js";
import { compact, number, percent, seconds, size, speed, visible, when } from "./format.js";
import { t } from "./i18n.js";
import { Shell } from "./shell.js";

const FRESH = 15_000; // milliseconds from one look to the next
const text = (write) => (value) => [write(value)].flat()[0];

/** Which columns of `api/series` each chart has, and how their values are written. */
const CHARTS = [
  { id: "calls", stacked: true, write: text(compact), of: (told) => told.calls, names: ["completed", "failed", "timeout", "cancelled", "interrupted"] },
  { id: "duration", write: text(seconds), of: (told) => told.duration, names: ["p50", "p95", "p99"] },
  { id: "first", write: text(seconds), of: (told) => told.time_to_first_token, names: ["p50", "p95", "p99"] },
  { id: "speed", write: text(speed), of: (told) => told.tokens_per_second, names: ["p50", "p95", "p99"] },
  { id: "tokens", write: text(compact), of: (told) => ({ input: told.input_tokens, output: told.output_tokens }), names: ["input", "output"] },
  { id: "queue", write: (value) => number(value, 1), of: (told) => ({ running: told.running.mean, waiting: told.queue.mean, most: told.queue.max }), names: ["running", "waiting", "most"] },
  { id: "cpu", write: text(percent), of: (told) => ({ ollama: told.cpu.ollama_percent, host: told.cpu.host_percent }), names: ["ollama", "host"] },
  { id: "memory", write: text(size), of: (told) => ({ ollama: told.memory.ollama_bytes, host: told.memory.host_bytes }), names: ["ollama", "host"] },
  { id: "gpu", write: text(percent), of: (told) => ({ use: told.gpu.percent }), names: ["use"] },
  { id: "watts", write: (value) => t("unit.watts", { n: number(value) }), of: (told) => ({ power: told.gpu.watts }), names: ["power"] },
];

const shell = new Shell({ render: () => {}, heard: () => {} });
const trouble = document.getElementById("charts-trouble");
const drawn = new Map();
let told;

const asked = () => new URLSearchParams(location.search);

function query(names) {
  const given = asked();
  return new URLSearchParams(names.filter((name) => given.get(name)).map((name) => [name, given.get(name)]));
}

async function look() {
  try {
    told = await json(`api/series?${query(["since", "until", "model"])}`);
    show(trouble, false);
  } catch (error) {
    show(trouble, true);
    say(find("[data-f=reason]", trouble), visible(error.message));
    return;
  }
  paint();
}

/** The steps of the span, one after the other; where nothing is known there is a gap. */
function filled(columns, names) {
  const place = new Map(told.at.map((at, index) => [at, index]));
  const steps = [];
  for (let at = told.since; at < told.until; at += told.step) steps.push(at);
  return [steps, ...names.map((name) => steps.map((at) => columns[name][place.get(at)] ?? null))];
}

function paint() {
  for (const chart of CHARTS) {
    const place = document.getElementById(`chart-${chart.id}`);
    const data = filled(chart.of(told), chart.names);
    const known = data.slice(1).some((values) => values.some((value) => value !== null));
    show(find(".empty", place), !known);
    drawn.get(chart.id)?.destroy();
    drawn.delete(chart.id);
    if (known) drawn.set(chart.id, draw(find(".plot", place), chart, data, told, { zoom, open }));
    if (chart.id === "gpu" || chart.id === "watts") show(place, known);
  }
  const span = { from: visible(String(when(told.since, told.now))), to: visible(String(when(told.until, told.now))) };
  say(document.getElementById("charts-span"), t("charts.shown", { ...span, step: [seconds(told.step)].flat()[0] }));
  show(document.getElementById("charts-empty"), told.at.length === 0);
}

function zoom(since, until) {
  const given = asked();
  given.set("since", Math.floor(since));
  given.set("until", Math.ceil(until));
  history.pushState(null, "", `?${given}`);
  look();
}

/** The calls that began in a step. */
function open(at) {
  const given = query(["model"]);
  given.set("since", at);
  given.set("until", at + told.step);
  location.assign(`requests?${given}`);
}

addEventListener("popstate", look);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => told && paint());
document.getElementById("theme").addEventListener("click", () => setTimeout(() => told && paint()));
let width = innerWidth;
addEventListener("resize", () => {
  if (told && width !== innerWidth) paint();
  width = innerWidth;
});
setInterval(() => {
  if (shell.awake && !asked().get("until") && !document.hidden && !drawn.values().some((one) => one.hovered)) look();
}, FRESH);
shell.start();
look();
