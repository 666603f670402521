// The page of charts: asks for the series of the span in the address, and draws it. A drag zooms, a
// click leads to the calls of that moment; all charts share one cursor. Keys: chart-keys.js.

import { Keys } from "./chart-keys.js";
import { Table } from "./chart-table.js";
import { lineless, notSeen, pointsOnly, why, whyPoints } from "./chart-why.js";
import { draw, moment, spelt } from "./chart.js";
import { attribute, find, json, say, show } from "./dom.js";
import { compact, number, percent, seconds, size, speed, visible, when } from "./format.js";
import { t } from "./i18n.js";
import { Shell } from "./shell.js";

const FRESH = 15_000; // milliseconds from one look to the next
const ROWS = 100; // of a table, at most
const STEPS = [300, 900, 3600, 21_600, 86_400]; // that the server offers, in seconds, above a minute
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
const places = new Map(CHARTS.map((chart) => [chart.id, document.getElementById(`chart-${chart.id}`)]));
const keys = new Map(CHARTS.map((chart) => [chart.id, byKeys(chart)]));
const tables = CHARTS.map((chart) => new Table(find("details", places.get(chart.id)), chart, rows, address));
const drawn = new Map();
let told;
let machine = null; // what is seen of it now, and of what is not, why

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
    return false;
  }
  paint();
  return true;
}

/** Another span: what changes is said, and the tables follow. */
async function lookElsewhere() {
  const [since, until] = [asked().get("since") || "1h", asked().get("until")];
  for (const link of document.querySelectorAll("form.filters .choice a")) {
    const shown = !until && new URLSearchParams(link.search).get("since") === since;
    attribute(link, "aria-current", shown ? "true" : null);
  }
  if (!(await look())) return;
  document.getElementById("say").textContent = document.getElementById("charts-span").textContent;
  for (const table of tables) table.renew();
}

/** The series in few steps, and the step of the charts: percentiles of longer steps only the server knows. */
async function rows() {
  const { since, until, step } = told;
  const long = STEPS.find((one) => one >= step && (until - since) / one <= ROWS) ?? STEPS.at(-1);
  if ((until - since) / step <= ROWS || long <= step) return [told, step];
  const given = query(["model"]);
  for (const [name, value] of Object.entries({ since, until, step: long })) given.set(name, value);
  return [await json(`api/series?${given}`), step];
}

/** The steps of the span, one after the other; where nothing is known there is a gap. */
function filled(columns, names) {
  const place = new Map(told.at.map((at, index) => [at, index]));
  const steps = [];
  for (let at = told.since; at < told.until; at += told.step) steps.push(at);
  return [steps, ...names.map((name) => steps.map((at) => columns[name][place.get(at)] ?? null))];
}

function paint() {
  const nothing = told.at.length === 0;
  for (const chart of CHARTS) one(chart);
  // Where no GPU is known, that is said once.
  show(places.get("watts"), drawn.has("gpu") || drawn.has("watts"));
  const span = { from: visible(String(when(told.since, told.now))), to: visible(String(when(told.until, told.now))) };
  say(document.getElementById("charts-span"), t("charts.shown", { ...span, step: spelt(told.step) }));
  show(document.getElementById("charts-empty"), nothing);
}

function one(chart) {
  const place = places.get(chart.id);
  const columns = chart.of(told);
  const missing = lineless(chart, columns);
  const names = chart.names.filter((name) => !missing.includes(name));
  const data = filled(columns, names);
  const [steps, ...values] = data;
  drawn.get(chart.id)?.destroy();
  drawn.delete(chart.id);
  const looks = names.map((name) => chart.names.indexOf(name));
  if (names.length) drawn.set(chart.id, draw(find(".plot", place), { ...chart, names, looks }, data, told, { zoom, open }));
  const known = steps.filter((_, index) => values.some((of) => of[index] !== null));
  keys.get(chart.id).take(drawn.get(chart.id), told, known, (at) => {
    const index = steps.indexOf(at);
    const parts = names.map((name, of) => [t(`charts.${name}`), values[of][index]]).filter(([, value]) => value !== null);
    return `${moment(at)}: ${parts.map(([name, value]) => `${name} ${chart.write(value)}`).join(", ")}`;
  });
  const points = names.filter((name, of) => pointsOnly(name, values[of]));
  reasons(chart, place, missing, names.length > 0, points);
}

/** What has no line, and why; where nothing has one, the reason of the first. */
function reasons(chart, place, missing, known, points) {
  const counts = chart.of(told).n;
  const because = (name) => (told.at.length ? why(chart, name, counts) : t("charts.why.off"));
  const list = missing.map((name) => t("charts.reason", { name: t(`charts.${name}`), reason: because(name) }));
  const lone = points.map((name) => t("charts.reason", { name: t(`charts.${name}`), reason: whyPoints(name) }));
  const said = [list.length && t("charts.lineless", { list: list.join(", ") }), lone.length && t("charts.points", { list: lone.join(", ") })];
  show(find(".empty", place), !known);
  // In the table's longer steps there may be calls enough.
  show(find("details", place), known || counts !== undefined);
  show(find(".lineless", place), known && list.length + lone.length > 0);
  const line = find(known ? ".lineless" : ".empty", place);
  say(find("span", line), known ? said.filter(Boolean).join(" ") : t("charts.none", { reason: because(missing[0]) }));
  const cause = missing.length && machine && notSeen(chart.id, machine);
  say(find("[data-f=cause]", line), cause ? `${visible(cause[0].toUpperCase() + cause.slice(1))}.` : "");
}

async function lookAtMachine() {
  machine = await json("api/machine").catch(() => null);
  if (told) paint();
}

function byKeys(chart) {
  const place = find(".plot", places.get(chart.id));
  return new Keys(place, `chart-${chart.id}-name`, "charts-how", { open, zoom, back });
}

function zoom(since, until) {
  const given = asked();
  given.set("since", Math.floor(since));
  given.set("until", Math.ceil(until));
  history.pushState({ zooms: (history.state?.zooms ?? 0) + 1 }, "", `?${given}`);
  lookElsewhere();
}

/** To the span before, as far as one came by zooming. */
function back() {
  if (history.state?.zooms) history.back();
}

/** Where the calls are that began in a step. */
function address(at, step) {
  const given = query(["model"]);
  given.set("since", at);
  given.set("until", at + step);
  return `requests?${given}`;
}

function open(at) {
  location.assign(address(at, told.step));
}

addEventListener("popstate", lookElsewhere);
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
lookAtMachine();
