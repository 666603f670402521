// Links to what makes a call again, where that was kept.

import { json, show } from "./dom.js";

/** Whether it was kept. `wanted` says whether the sheet still shows this call. */
export async function offerReplay(id, wanted) {
  const place = document.getElementById("call-again");
  show(place, false);
  const address = `api/requests/${encodeURIComponent(id)}/replay?as=`;
  const forms = await json(`${address}forms`).catch(() => []);
  if (!wanted()) return false;
  show(place, forms.length > 0);
  for (const link of place.querySelectorAll("[data-form]")) {
    const { form } = link.dataset;
    show(link, forms.includes(form));
    link.href = address + form;
    if (form === "recording") link.download = `${id}.json`;
  }
  return forms.length > 0;
}
