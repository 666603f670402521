// Why a chart has no line for something: too few calls for a percentile, or nobody told.

import { t } from "./i18n.js";

/** Why such a percentile has points and no line. */
export const whyPoints = (name) => t("charts.why.few_beside", { n: NEEDED[name] });

/** How many calls of a step each percentile needs (charts.py). */
const NEEDED = { p50: 5, p95: 20, p99: 100 };

/** In words that go in brackets. `counts`: the calls that told, of a percentile's steps. */
export function why(chart, name, counts) {
  if (name in NEEDED) {
    return counts.some((count) => count) ? t("charts.why.few", { n: NEEDED[name] }) : t("charts.why.no_calls");
  }
  if (chart.id === "tokens") return t("charts.why.untold");
  if (name === "ollama") return t("charts.why.ollama");
  if (chart.id === "gpu" || chart.id === "watts") return t(`charts.why.${chart.id}`);
  return t("charts.why.sampled");
}

/** Places of the values that have none beside them. */
export function alone(values) {
  const known = (at) => (values[at] ?? null) !== null;
  return [...values.keys()].filter((at) => known(at) && !known(at - 1) && !known(at + 1));
}

/** Percentiles that no line leads to: each step that has one is between two that have none. `values`
 * are those of all steps. */
export function pointsOnly(name, values) {
  return name in NEEDED && alone(values).length === values.filter((value) => value !== null).length;
}

/** Those of the chart's names of which no step tells anything. */
export function lineless(chart, columns) {
  return chart.names.filter((name) => !columns[name].some((value) => value !== null));
}

/** The proxy's own sentence (English) on why it sees nothing now; `machine` is what `api/machine` tells. */
export function notSeen(id, machine) {
  if (id === "cpu" || id === "memory") return machine.ollama_cpu_percent === null ? machine.status : "";
  return id === "gpu" && machine.gpu === null ? machine.gpu_status : "";
}
