// The page's language: its catalogue and its plurals. The same catalogue the server's templates use.

let catalogue = {};
let rules = new Intl.PluralRules("en");

export function speak(language, words) {
  catalogue = words;
  rules = new Intl.PluralRules(language);
}

export function t(key, values = {}) {
  const text = catalogue[key];
  if (text === undefined) throw new Error(`no word for ${key}`);
  return text.replace(/\{(\w+)\}/g, (_, name) => String(values[name]));
}

/** "one" or "other": the catalogues have no further forms (Italian's "many" reads as "other"). */
export function plural(count) {
  return rules.select(count) === "one" ? "one" : "other";
}
