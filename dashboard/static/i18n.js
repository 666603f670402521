// The page's language: its catalogue and its plurals. The same catalogue the server's templates use.

let catalogue = {};
let rules = new Intl.PluralRules("en");

export function speak(language, words) {
  catalogue = words;
  rules = new Intl.PluralRules(language);
}

function word(key) {
  const text = catalogue[key];
  if (text === undefined) throw new Error(`no word for ${key}`);
  return text;
}

const filled = (text, values) => text.replace(/\{(\w+)\}/g, (_, name) => String(values[name]));

export function t(key, values = {}) {
  return filled(word(key), values);
}

/** What stands before and after one place of a text, where an element of its own goes. */
export function around(key, place, values) {
  return word(key).split(`{${place}}`).map((text) => filled(text, values));
}

/** "one" or "other": the catalogues have no further forms (Italian's "many" reads as "other"). */
export function plural(count) {
  return rules.select(count) === "one" ? "one" : "other";
}
