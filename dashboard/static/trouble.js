// Why a question to the proxy failed, in the page's language. Its own English texts are for REST.

import { t } from "./i18n.js";

/** In words that go on a sentence: what happened, and what to do. `known` has words by status. */
export function troubleOf(error, known = {}) {
  if (error.status in known) return known[error.status];
  if (error.status === undefined) return t("trouble.unreachable"); // no answer at all
  if (error.status === 503) return t("trouble.unread");
  return t("trouble.failed", { code: error.status });
}
