// The numbers of a chart as a table, made when it is unfolded: what a screen reader and a finger get.
// It stands as it was until the span changes, so that nobody loses the row that is read.

import { lineless, why } from "./chart-why.js";
import { moment, spelt } from "./chart.js";
import { find, say } from "./dom.js";
import { none, visible } from "./format.js";
import { t } from "./i18n.js";

export class Table {
  /** `ask()` gives the series in as many steps as one reads, and the chart's own step;
   * `calls(at, step)` is the address of the calls behind one. */
  constructor(details, chart, ask, calls) {
    Object.assign(this, { details, chart, ask, calls });
    this.place = find(".rows", details);
    details.addEventListener("toggle", () => this.renew());
  }

  /** Asks and fills, if it is unfolded. */
  async renew() {
    if (!this.details.open) return;
    try {
      const [told, step] = await this.ask();
      this.place.replaceChildren(this.table(told, step));
    } catch (error) {
      say(this.place, `${t("charts.trouble")} ${visible(error.message)}`);
    }
  }

  table(told, step) {
    const { chart } = this;
    const columns = chart.of(told);
    const missing = lineless(chart, columns);
    const names = chart.names.filter((name) => !missing.includes(name));
    const table = document.createElement("table");
    const caption = document.createElement("span"); // stays in sight while the rest is scrolled
    caption.textContent = this.caption(told, step);
    table.createCaption().append(caption);
    const head = table.createTHead().insertRow();
    for (const name of ["time", ...names]) head.append(heading("col", t(`charts.${name}`)));
    const body = table.createTBody();
    told.at.forEach((at, index) => {
      if (!names.some((name) => columns[name][index] !== null)) return;
      const row = body.insertRow();
      const time = heading("row");
      const link = document.createElement("a");
      link.href = this.calls(at, told.step);
      link.textContent = moment(at);
      time.append(link);
      row.append(time);
      for (const name of names) {
        const value = columns[name][index];
        say(row.insertCell(), value === null ? none(why(chart, name, [columns.n?.[index]])) : chart.write(value));
      }
    });
    return table;
  }

  caption(told, step) {
    const words = {
      name: t(`chart.${this.chart.id}`),
      unit: t(`chart.unit.${this.chart.id}`),
      from: moment(told.since),
      to: moment(told.until),
      step: spelt(told.step),
    };
    const said = [t("charts.caption", words)];
    if (told.step > step) said.push(t("charts.thinned", { step: spelt(step) }));
    said.push(t("charts.rowless"));
    return said.join(" ");
  }
}

function heading(scope, text = "") {
  const cell = document.createElement("th");
  cell.scope = scope;
  cell.textContent = text;
  return cell;
}
