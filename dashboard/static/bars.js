// Bars of time: which phase took how long. Drawn in SVG in percent of the width, so that textures
// keep their size. Phases differ by height and texture, not by colour alone; no text inside.

import { phases } from "./calls.js";
import { attribute, draw } from "./dom.js";

// kind: [top, height, fill] in a bar of 20 px
const SHAPES = {
  queue: [6.5, 7, "url(#p-queue)"],
  load: [3, 14, "url(#p-load)"],
  prefill: [0, 20, null],
  decode: [0, 20, null],
  before: [6.5, 7, "none"],
  unknown: [6.5, 7, "none"],
  total: [6, 8, null],
};
// What stands at the end of a bar, to the right of it.
const ENDS = {
  failed: "M1.5 0v20M5.5 6.5l7 7M12.5 6.5l-7 7",
  timeout: "M1.5 0v20M5.5 6.5l7 7M12.5 6.5l-7 7",
  cancelled: "M1.5 0v20M12.5 6l-6 4 6 4",
  interrupted: "M1.5 0v20M12.5 6l-6 4 6 4",
  longer: "M3 5l7 5-7 5z",
  earlier: "M10 5l-7 5 7 5z",
};
const LEAST = 0.4; // percent: what happened stays visible

function place(svg, index, tag) {
  const old = svg.children[index];
  if (old?.tagName === tag) return old;
  const fresh = draw(tag);
  if (old) old.replaceWith(fresh);
  else svg.append(fresh);
  return fresh;
}

function end(svg, index, kind, at) {
  const box = place(svg, index, "svg");
  attribute(box, "x", `${at.toFixed(2)}%`);
  attribute(box, "overflow", "visible");
  attribute(place(box, 0, "path"), "d", ENDS[kind]);
  attribute(box, "class", `end end-${kind}`);
}

/** Draws `segments` ([kind, from, to] in percent) and `ends` ([kind, at]). */
export function bar(svg, segments, ends = []) {
  const drawn = [...segments.flat(), ...ends.flat()]
    .map((value) => (typeof value === "number" ? value.toFixed(2) : value)).join();
  if (svg.drawn === drawn) return;
  svg.drawn = drawn;
  let index = 0;
  segments.forEach(([kind, from, to], order) => {
    const [top, height, fill] = SHAPES[kind];
    const rect = place(svg, index++, "rect");
    attribute(rect, "class", `ink-${kind}`);
    attribute(rect, "fill", fill);
    attribute(rect, "x", `${from.toFixed(2)}%`);
    attribute(rect, "width", `${Math.max(LEAST, to - from).toFixed(2)}%`);
    attribute(rect, "y", top);
    attribute(rect, "height", height);
    if (order < segments.length - 1) {
      const gap = place(svg, index++, "rect");
      attribute(gap, "fill", null);
      attribute(gap, "class", "gap");
      attribute(gap, "x", `${to.toFixed(2)}%`);
      attribute(gap, "width", 2);
      attribute(gap, "y", 0);
      attribute(gap, "height", 20);
    }
  });
  for (const [kind, at] of ends) end(svg, index++, kind, at);
  while (svg.children.length > index) svg.lastElementChild.remove();
}

/** A finished call on a scale of `scale` seconds that all rows share. */
export function callBar(svg, call, scale) {
  if (call.duration === null) return bar(svg, []);
  const segments = [];
  let from = 0;
  for (const [kind, seconds] of phases(call)) {
    const to = Math.min(100, from + (seconds / scale) * 100);
    if (from < 100) segments.push([kind, from, to]);
    from = to;
  }
  const ends = [];
  if (call.state in ENDS) ends.push([call.state, from]);
  else if (call.duration > scale * 1.001) ends.push(["longer", 100]);
  return bar(svg, segments, ends);
}

/** A lane: `age` seconds since the call began, on a window of `range` seconds that ends now. */
export function laneBar(svg, call, age, range) {
  const running = call.state === "running";
  const first = call.time_to_first_token;
  const parts = !running
    ? phases(call)
    : first === null ? [["before", age]] : [["before", first], ["decode", Math.max(0, age - first)]];
  const at = (seconds) => Math.max(0, Math.min(100, 100 - ((age - seconds) / range) * 100));
  const segments = [];
  let from = 0;
  for (const [kind, seconds] of parts) {
    const to = from + seconds;
    if (age - to < range) segments.push([kind, at(from), at(to)]);
    from = to;
  }
  const ends = age > range ? [["earlier", 0]] : [];
  if (!running && call.state in ENDS) ends.push([call.state, at(from)]);
  bar(svg, segments, ends);
}

const STEPS = [1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1800, 3600, 7200];

/** A round scale on which nine of ten calls fit; the few that don't are marked as longer. */
export function scaleFor(calls) {
  const durations = calls.map((call) => call.duration ?? 0).sort((a, b) => a - b);
  const most = durations[Math.floor((durations.length - 1) * 0.9)] ?? 0;
  return STEPS.find((step) => step >= most) ?? STEPS.at(-1);
}
