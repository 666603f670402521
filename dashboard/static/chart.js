// One chart, drawn by uPlot (vendor/uplot.js). Not here: what is charted (charts.js).

import { alone } from "./chart-why.js";
import { t } from "./i18n.js";

const HEIGHT = 180;
const RIGHT = 24; // half of the last time's label
/** Never by colour alone: lines differ by their dashes, too, and the legend says each one's name. */
const LOOKS = [
  { ink: "--prefill", dash: [], edge: "solid" },
  { ink: "--load", dash: [8, 4], edge: "dashed" },
  { ink: "--queue", dash: [2, 3], edge: "dotted" },
];
const OUTCOMES = { completed: "--decode", failed: "--failure", timeout: "--load", cancelled: "--queue", interrupted: "--text" };

/** A colour as a canvas takes it: light-dark() is the style sheet's to resolve. */
function colour(name) {
  const probe = document.createElement("span");
  probe.style.color = `var(${name})`;
  document.body.append(probe);
  const { color } = getComputedStyle(probe);
  probe.remove();
  return color;
}

/** Each value on top of those before it. */
function piled(values) {
  const heap = values[0].map(() => 0);
  return values.map((of) => of.map((value, index) => (value === null ? null : (heap[index] += value))));
}

/**
 * `chart` is one of charts.js's, with the names that have a line, and of each its `looks`; `data` its
 * steps and columns, `told` the answer they are from.
 * `zoom(since, until)` after a drag, `open(at)` after a click on a step.
 */
export function draw(place, chart, data, told, { zoom, open }) {
  const [steps, ...values] = data;
  const lines = chart.stacked ? piled(values) : values;
  const order = chart.names.map((_, index) => index);
  if (chart.stacked) order.reverse(); // the whole pile behind its lower part
  const axis = { stroke: colour("--quiet"), grid: { stroke: colour("--hair"), width: 1 }, ticks: { stroke: colour("--hair"), width: 1 }, font: "12px system-ui" };
  const options = {
    legend: { markers: { width: 2, dash: (_, at) => (chart.stacked ? "solid" : LOOKS[chart.looks[at - 1]]?.edge) } },
    width: place.clientWidth,
    height: HEIGHT,
    padding: [8, RIGHT, 0, 0],
    cursor: { y: false, sync: { key: "time" }, drag: { x: true, y: false, setScale: false }, points: { size: 6 } },
    scales: { x: { time: true, range: [told.since, told.until] }, y: { range: (_, low, high) => [0, high > 0 ? high * 1.08 : 1] } },
    axes: [{ ...axis, values: times, space: 64, size: 32 }, { ...axis, size: room, values: (_, ticks) => ticks.map(chart.write) }],
    series: [
      { label: t("charts.time"), value: (_, value) => (value === null ? "\u2013" : moment(value)) },
      ...order.map((index) => line(chart, index, values[index], steps.length)),
    ],
    hooks: {
      setSelect: [(plot) => {
        const { left, width } = plot.select;
        // The others, which share the cursor, are told of it, too.
        if (begun !== null && width >= 4) zoom(plot.posToVal(left, "x"), plot.posToVal(left + width, "x"));
      }],
    },
  };
  let begun = null; // where the button went down in this chart
  const plot = new uPlot(options, [steps, ...order.map((index) => lines[index])], place);
  plot.root.setAttribute("aria-hidden", "true"); // what is around it tells the same in words
  plot.over.addEventListener("mousedown", (event) => (begun = event.clientX));
  plot.over.addEventListener("click", (event) => {
    const { idx } = plot.cursor;
    if (begun !== null && Math.abs(event.clientX - begun) < 4 && idx !== null && idx !== undefined) open(steps[idx]);
  });
  plot.over.addEventListener("mouseenter", () => (plot.hovered = true));
  plot.over.addEventListener("mouseleave", () => (plot.hovered = false));
  return plot;
}

function line(chart, index, raw, count) {
  const name = chart.names[index];
  const stroke = colour(chart.stacked ? OUTCOMES[name] : LOOKS[chart.looks[index]].ink);
  return {
    label: t(`charts.${name}`),
    stroke,
    width: chart.stacked ? 0 : 1.75,
    dash: chart.stacked ? undefined : LOOKS[chart.looks[index]].dash,
    fill: chart.stacked ? stroke : undefined,
    paths: chart.stacked ? uPlot.paths.bars({ size: [0.9, 40] }) : undefined,
    // Where there are too many steps for a point each, those between two gaps have one: no line leads there.
    points: { show: !chart.stacked && count <= 60, filter: (_, __, all) => (all || chart.stacked ? null : alone(raw)) },
    spanGaps: false,
    value: (_, value, __, at) => (at === null || raw[at] === null || raw[at] === undefined ? "\u2013" : chart.write(raw[at])),
  };
}

/** Left of the plot, the same in all charts where it can be, so that moments stand below each other. */
const room = (_, ticks) => (ticks?.some((text) => text.length > 8) ? 84 : 64);

const two = (value) => String(value).padStart(2, "0");

/** How long a step is, in whole units. */
export function spelt(step) {
  const [unit, key] = [[86_400, "d"], [3600, "h"], [60, "min"]].find(([unit]) => step % unit === 0);
  return t(`charts.step.${key}`, { n: step / unit });
}

/** When a step begins. */
export function moment(at) {
  const then = new Date(at * 1000);
  return `${then.getDate()} ${t("months").split(" ")[then.getMonth()]}, ${two(then.getHours())}:${two(then.getMinutes())}`;
}

/** The clock; at a day's beginning, and where the ticks are days, the day. */
function times(_, ticks) {
  const days = ticks.length > 1 && ticks[1] - ticks[0] >= 86400;
  return ticks.map((at) => {
    const then = new Date(at * 1000);
    const midnight = then.getHours() === 0 && then.getMinutes() === 0;
    if (days || midnight) return `${then.getDate()} ${t("months").split(" ")[then.getMonth()]}`;
    return `${two(then.getHours())}:${two(then.getMinutes())}`;
  });
}
