// Asks whether a call's prompt was cut, where the call was kept whole: Ollama writes the prompt out anew.

import { fill, show } from "./dom.js";
import { t } from "./i18n.js";
import { visible } from "./format.js";
import { insightsOf } from "./insights.js";

const PATHS = ["/api/chat", "/api/generate"];

/** Offers the question, or not: `kept` tells whether there is anything to ask with. */
export function offerCheck(sheet, call, kept) {
  const button = document.getElementById("call-check");
  show(button, kept && PATHS.includes(call.path) && Boolean(call.input_tokens));
  button.disabled = false;
  button.onclick = async () => {
    button.disabled = true;
    const answer = await ask(call.id);
    if (sheet.dataset.call !== call.id) return;
    const line = sheet.querySelector("[data-more=prompt_cut]");
    fill(line, { prompt_cut: answer });
    show(line, true);
    show(button, false);
  };
}

async function ask(id) {
  const path = `api/requests/${encodeURIComponent(id)}/prompt_cut`;
  try {
    const response = await fetch(path, { method: "POST", headers: { Accept: "application/json" } });
    const body = await response.json();
    if (!response.ok) return t("call.check.failed", { reason: visible(body.error ?? String(response.status)) });
    return t("call.check.told", { told: insightsOf({ insights: { prompt_cut: body } }).prompt_cut });
  } catch (error) {
    return t("call.check.failed", { reason: visible(error.message) });
  }
}
