// The buttons of the page of alerts: send a test, silence a rule. The rest stands as it was made.

import { json } from "./dom.js";
import { visible } from "./format.js";
import { t } from "./i18n.js";
import { Shell } from "./shell.js";

const told = document.getElementById("alerts-told");

async function test(name) {
  const found = await json(`api/alerts/test?name=${encodeURIComponent(name)}`, "POST");
  return found
    .map(({ notifier, sent, error }) =>
      sent ? t("alerts.sent_by", { name: notifier }) : t("alerts.failed_by", { name: notifier, reason: visible(error) }),
    )
    .join(" ");
}

async function silence(name, seconds) {
  await json(`api/alerts/${encodeURIComponent(name)}/silence?seconds=${seconds}`, "POST");
  location.reload();
  return "";
}

new Shell({ render: () => {}, heard: () => {} }).start();

document.addEventListener("click", async ({ target }) => {
  const button = target.closest("button.alert-test, button.alert-silence");
  if (!button || button.disabled) return;
  const { name, seconds } = button.dataset;
  button.disabled = true;
  told.textContent = t("alerts.asking");
  try {
    told.textContent = await (seconds === undefined ? test(name) : silence(name, seconds));
  } catch (error) {
    told.textContent = t("alerts.refused", { reason: visible(error.message) });
  } finally {
    button.disabled = false;
  }
});
