// One row of a list of calls, wherever it stands.

import { callBar } from "./bars.js";
import { callRow } from "./calls.js";
import { attribute, fill, find, mark } from "./dom.js";
import { here } from "./here.js";

/** Writes what the row says of the call. `scale`: seconds of the whole width of its bar. */
export function showCall(row, call, now, scale) {
  // An ended call changes no more: only the scale, or midnight, makes its row another.
  const drawn = `${scale} ${new Date(now * 1000).toDateString()}`;
  if (row.call === call && row.drawn === drawn) return;
  Object.assign(row, { call, drawn });
  attribute(find("a", row), "href", here({ call: call.id }));
  // A reader may have chosen other columns.
  const [state, model, drawing] = [".state", ".c-model", ".bar"].map((one) => find(one, row));
  if (state) mark(state, call.state);
  model?.classList.toggle("quiet", call.model === null);
  fill(row, callRow(call, now));
  if (drawing) callBar(drawing, call, scale);
}
