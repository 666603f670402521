// The long texts of a call, shown as plain text: the beginning first, the whole when asked for.

import { find, say, show } from "./dom.js";
import { size } from "./format.js";
import { t } from "./i18n.js";

const SHOWN = 64 * 1024;

/** `text` null: it was not recorded. */
export function showContent(body, key, text) {
  const box = find(`[data-content=${key}]`, body);
  const place = find("pre", box);
  const all = find(".all", box);
  show(find(".empty", box), text === null);
  show(find(".copy", box), text !== null);
  show(place, text !== null);
  place.whole = text; // what is copied, however much is shown
  const cut = (text ?? "").slice(0, SHOWN);
  // Somebody may have marked a part of it, or be reading all of it.
  if (place.textContent !== cut && place.textContent !== text) place.textContent = cut;
  show(all, (text?.length ?? 0) > place.textContent.length);
  if (all.hidden) return;
  say(all, t("call.show_all", { size: size(text.length) }));
  all.onclick = () => {
    place.textContent = text;
    show(all, false);
  };
}
