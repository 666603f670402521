// How numbers and times are written. words.py writes the first page with the same rules.

import { plural, t } from "./i18n.js";

const halfUp = (value) => Math.floor(value + 0.5);

export function number(value, decimals = 0) {
  const digits = String(halfUp(value * 10 ** decimals)).padStart(decimals + 1, "0");
  const whole = digits.slice(0, digits.length - decimals);
  const grouped = whole.replace(/\B(?=(\d{3})+$)/g, t("number.group"));
  return decimals ? grouped + t("number.decimal") + digits.slice(-decimals) : grouped;
}

/** The form of `key` for `count`. */
export function n(key, count, values = {}) {
  return t(`${key}.${plural(count)}`, { n: number(count), ...values });
}

/** A dash, and in words why there is no value. */
export const none = (reason) => ["\u2013", reason];
export const unknown = () => none(t("unknown"));

/** Short above 99 999: 212 k, 2.1 M. */
export function compact(value) {
  const units = [[1e9, 1e9, "unit.billion"], [1e6, 1e6, "unit.million"], [1e5, 1e3, "unit.thousand"]];
  for (const [least, unit, key] of units) {
    if (value >= least) {
      const short = value / unit;
      return t(key, { n: number(short, short < 100 ? 1 : 0) });
    }
  }
  return number(value);
}

const two = (value) => String(value).padStart(2, "0");

export function seconds(value, running = false) {
  if (value === null || value === undefined) return unknown();
  if (running && value < 60) return t("time.s", { n: number(value, 1) });
  const thousandths = halfUp(value * 1000);
  if (thousandths < 1000) return t("time.ms", { n: thousandths });
  if (halfUp(value * 10) < 100) return t("time.s", { n: number(value, 1) });
  const whole = halfUp(value);
  if (whole < 60) return t("time.s", { n: whole });
  // What moves keeps its second part, so that it does not jump.
  if (whole % 60 === 0 && whole < 3600 && !running) return t("time.min.whole", { m: whole / 60 });
  if (whole < 3600) return t("time.min", { m: Math.floor(whole / 60), s: two(whole % 60) });
  const minutes = Math.floor((whole % 3600) / 60);
  if (whole < 86400) return t("time.h", { h: Math.floor(whole / 3600), m: minutes });
  return t("time.d", { d: number(Math.floor(whole / 86400)), h: Math.floor((whole % 86400) / 3600) });
}

export function speed(value) {
  return value === null || value === undefined ? unknown() : number(value, value >= 9.95 ? 0 : 1);
}

export function size(value) {
  for (const [unit, key, decimals] of [[1e9, "unit.gb", 1], [1e6, "unit.mb", 0], [1e3, "unit.kb", 0]]) {
    if (value >= unit) return t(key, { n: number(value / unit, decimals) });
  }
  return t("unit.b", { n: number(value) });
}

export function percent(value) {
  return t("unit.percent", { n: number(value, halfUp(value * 10) % 10 === 0 ? 0 : 1) });
}

export function clock(moment) {
  const at = new Date(moment * 1000);
  return `${two(at.getHours())}:${two(at.getMinutes())}:${two(at.getSeconds())}`;
}

const sameDay = (a, b) => new Date(a * 1000).toDateString() === new Date(b * 1000).toDateString();

/** The clock today, else day and clock; another year's date without clock. */
export function when(moment, now) {
  const then = new Date(moment * 1000);
  const today = new Date(now * 1000);
  if (sameDay(moment, now)) return clock(moment);
  const day = { d: then.getDate(), month: t("months").split(" ")[then.getMonth()] };
  if (then.getFullYear() !== today.getFullYear()) return t("date.year", { y: then.getFullYear(), ...day });
  return t("date", { time: clock(moment).slice(0, 5), ...day });
}

export function ago(moment, now) {
  const passed = Math.max(0, now - moment);
  if (passed < 5) return t("ago.now");
  if (passed < 60) return t("ago.s", { n: Math.floor(passed / 5) * 5 });
  if (passed < 3600) return t("ago.min", { n: Math.floor(passed / 60) });
  return at(moment, now);
}

/** A moment with its preposition; without seconds. */
export function at(moment, now) {
  const date = when(moment, now);
  return sameDay(moment, now) ? t("ago.at", { time: date.slice(0, 5) }) : t("ago.on", { date });
}

export function since(moment, now) {
  const date = when(moment, now);
  return sameDay(moment, now) ? t("since", { time: date }) : t("since.day", { date });
}

/** Seconds since 1970 of an ISO text; NaN if it is none. */
export const epoch = (iso) => Date.parse(iso) / 1000;

const UNSEEN =
  /[\u0000-\u001f\u007f-\u009f\u00ad\u061c\u115f\u1160\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\u2800\u3164\ufeff\uffa0\ufff9-\ufffb]|\p{Surrogate}/gu;

/** Control and direction characters written out, so that a name can't move its neighbours. */
export function visible(text) {
  return text.replace(UNSEEN, (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`);
}

/** A name as a label: made visible, shortened in the middle so that both ends still tell. */
export function name(text, most = 30) {
  const full = visible(text);
  const letters = [...full];
  if (letters.length <= most) return full;
  const tail = Math.floor((most * 2) / 5);
  return [`${letters.slice(0, most - 1 - tail).join("")}…${letters.slice(-tail).join("")}`, full];
}
