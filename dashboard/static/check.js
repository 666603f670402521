// Asks whether a call's prompt was cut, where the call was kept whole: Ollama writes the prompt out anew.

import { fill, json, show } from "./dom.js";
import { visible } from "./format.js";
import { t } from "./i18n.js";
import { insightsOf } from "./insights.js";
import { troubleOf } from "./trouble.js";

const PATHS = ["/api/chat", "/api/generate"];

/** Offers the question, or not: `kept` tells whether there is anything to ask with. */
export function offerCheck(sheet, call, kept) {
  const button = document.getElementById("call-check");
  show(button, kept && PATHS.includes(call.path) && Boolean(call.input_tokens));
  button.disabled = false;
  button.onclick = async () => {
    button.disabled = true;
    const { told, text } = await ask(call.id);
    if (sheet.dataset.call !== call.id) return;
    const line = sheet.querySelector("[data-more=prompt_cut]");
    fill(line, { prompt_cut: text });
    show(line, true);
    show(button, !told);
    button.disabled = false;
  };
}

/** `told` false: the text says why not. */
async function ask(id) {
  const path = `api/requests/${encodeURIComponent(id)}/prompt_cut`;
  try {
    const body = await json(path, "POST");
    const { prompt_cut: told } = insightsOf({ insights: { prompt_cut: body } });
    return { told: true, text: t("call.check.told", { told }) };
  } catch (error) {
    const known = {
      409: t("call.check.not_kept"),
      502: t("call.check.ollama", { error: visible(error.message) }),
      503: t("call.check.busy"),
    };
    return { told: false, text: t("call.check.failed", { reason: troubleOf(error, known) }) };
  }
}
