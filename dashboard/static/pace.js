// How the pieces of an answer came over time, as bars of pieces a second; its longest silence is framed.

import { attribute, draw, fill, find, show } from "./dom.js";
import { n, number, seconds } from "./format.js";
import { t } from "./i18n.js";

const HEIGHT = 48;
const FEW = 3; // pieces a bar, on average: with fewer it says more of the clock than of the stream
const LEAST_BARS = 8;
const STALL = 4; // times what 95 % of the gaps do not pass
const AT_THE_ENDS = 2; // of a stream there may be pieces without text
const NOTEWORTHY = 1; // seconds of silence at the end

/** The bars, each [from, to, pieces] in seconds from the first token on; `whole` seconds in all. */
export function barsOf({ seconds: part, pieces }, whole) {
  let counts = pieces;
  let width = part;
  const all = pieces.reduce((sum, count) => sum + count, 0);
  while (counts.length >= 2 * LEAST_BARS && all / counts.length < FEW) {
    counts = counts.flatMap((count, at) => (at % 2 ? [] : [count + (counts[at + 1] ?? 0)]));
    width *= 2;
  }
  const bars = counts.map((count, at) => [at * width, (at + 1) * width, count]);
  const last = bars.at(-1);
  // The last part has only begun: too little of it tells no pace.
  last[1] = Math.min(last[1], Math.max(whole, last[0]));
  if (bars.length > 1 && last[1] - last[0] < width / 2) {
    bars.pop();
    bars.at(-1)[1] = last[1];
    bars.at(-1)[2] += last[2];
  }
  return bars;
}

/** In a figure with a drawing, a sentence and an axis; hidden where nothing streamed. */
export function drawPace(figure, call) {
  const { pace } = call;
  show(figure, Boolean(pace));
  if (!pace) return;
  const from = call.time_to_first_token ?? 0;
  const reached = pace.seconds * (pace.pieces.length - 1);
  const whole = Math.max((call.duration ?? 0) - from, reached, 0.001);
  const bars = barsOf(pace, whole);
  const pieces = joined(call);
  const most = pieces.each * Math.max(...bars.map(([begin, end, count]) => count / Math.max(end - begin, 0.001)));
  const at = (moment) => `${((moment / whole) * 100).toFixed(2)}%`;
  const drawing = find("svg", figure);
  drawing.replaceChildren(...bars.filter(([, , count]) => count).map(([begin, end, count]) => {
    const high = Math.max(1, ((pieces.each * count) / Math.max(end - begin, 0.001) / most) * HEIGHT);
    const size = { x: at(begin), width: at(end - begin), y: (HEIGHT - high).toFixed(1), height: high.toFixed(1) };
    return draw("rect", { class: "ink-decode", ...size });
  }));
  const silent = call.longest_gap;
  if (silent > STALL * call.p95_gap && silent > whole / 100) {
    drawing.append(draw("rect", { class: "silence", x: at(pace.longest_at), width: at(silent), y: 0.5, height: HEIGHT - 1 }));
  }
  attribute(drawing, "height", HEIGHT);
  fill(figure, { pace: sentence(call, whole, bars, pieces), most: t("call.pace.rate", { n: number(most, most < 9.95 ? 1 : 0) }), whole: seconds(whole) });
}

/** How many pieces of text there were for each that the network brought, which may join some. */
function joined(call) {
  const brought = call.pace.pieces.reduce((sum, count) => sum + count, 0);
  const written = call.output_chunks || brought;
  return { written, each: Math.abs(written - brought) <= AT_THE_ENDS ? 1 : written / brought };
}

function sentence(call, whole, bars, { written, each }) {
  const { pace } = call;
  const told = [n("call.pace.pieces", written, { s: seconds(whole) })];
  const after = Math.round(pace.longest_after * each);
  const values = { s: seconds(call.longest_gap), at: seconds(pace.longest_at) };
  told.push(n("call.pace.silence", after, { ...values, ...(each === 1 ? {} : { n: t("about", { n: number(after) }) }) }));
  // It may have ended in silence, which lies between no two pieces.
  const rest = whole - bars.at(-1)[1];
  if (rest >= NOTEWORTHY && rest > call.longest_gap) told.push(t("call.pace.end", { s: seconds(rest) }));
  return told.join(" ");
}
