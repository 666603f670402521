"""Language: the catalogues' words, and how numbers, times and names are written in each.

Mirrors `format.js` and `i18n.js` in the dashboard; a browser test holds the two together. Not here:
which facts a row shows (`rows.py`).
"""

from __future__ import annotations

import math
import re
from datetime import datetime
from typing import NamedTuple

LANGUAGES = ("en", "it")
NONE = "\u2013"  # an en dash: not known


class Said(NamedTuple):
    """A text whose short form is seen and whose full form is heard and shown on hover."""

    shown: str
    full: str


Text = str | Said

_UNSEEN = re.compile(
    "[\x00-\x1f\x7f-\x9f\xad\u061c\u115f\u1160\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f"
    "\u2800\u3164\ufeff\uffa0\ufff9-\ufffb\ud800-\udfff]"
)


def visible(text: str) -> str:
    """Control and direction characters written out, so that a name can't move its neighbours."""
    return _UNSEEN.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


def name(text: str, most: int = 30) -> Text:
    """A name as a label: made visible, shortened in the middle so that both ends still tell."""
    full = visible(text)
    if len(full) <= most:
        return full
    tail = most * 2 // 5
    return Said(full[: most - 1 - tail] + "…" + full[-tail:], full)


def _filled(text: str, values: dict[str, str]) -> str:
    return re.sub(r"\{(\w+)\}", lambda match: values[match[1]], text)


def _half_up(value: float) -> int:
    return math.floor(value + 0.5)  # as the script rounds, not half to even


def _same_day(moment: float, now: float) -> bool:
    return datetime.fromtimestamp(moment).date() == datetime.fromtimestamp(now).date()


class Words:
    """One language: its catalogue, its plurals, and how it writes numbers and times."""

    def __init__(self, language: str, catalogue: dict[str, str]) -> None:
        self.language = language
        self.catalogue = catalogue
        self.unknown = Said(NONE, catalogue["unknown"])

    def t(self, key: str, **values: str) -> str:
        return _filled(self.catalogue[key], values)

    def around(self, key: str, place: str, **values: str) -> tuple[str, str]:
        """What stands before and after one place of a text, where a mark-up of its own goes."""
        before, _, after = self.catalogue[key].partition(f"{{{place}}}")
        return _filled(before, values), _filled(after, values)

    def n(self, key: str, count: int, **values: str) -> str:
        """The form of `key` for `count`: both languages have "one" for 1 and "other"."""
        form = "one" if count == 1 else "other"
        return self.t(f"{key}.{form}", n=self.number(count), **values)

    def number(self, value: float, decimals: int = 0) -> str:
        digits = str(_half_up(value * 10**decimals)).rjust(decimals + 1, "0")
        whole, part = (digits[:-decimals], digits[-decimals:]) if decimals else (digits, "")
        grouped = f"{int(whole):,}".replace(",", self.t("number.group"))
        return grouped + self.t("number.decimal") + part if part else grouped

    def compact(self, value: float) -> str:
        """Short above 99 999: 212 k, 2.1 M."""
        units = (
            (1e9, 1e9, "unit.billion"),
            (1e6, 1e6, "unit.million"),
            (1e5, 1e3, "unit.thousand"),
        )
        for least, unit, key in units:
            if value >= least:
                short = value / unit
                return self.t(key, n=self.number(short, 1 if short < 100 else 0))
        return self.number(value)

    def seconds(self, value: float | None, running: bool = False) -> Text:
        if value is None:
            return self.unknown
        if running and value < 60:
            return self.t("time.s", n=self.number(value, 1))
        if (thousandths := _half_up(value * 1000)) < 1000:
            return self.t("time.ms", n=str(thousandths))
        if _half_up(value * 10) < 100:
            return self.t("time.s", n=self.number(value, 1))
        whole = _half_up(value)
        if whole < 60:
            return self.t("time.s", n=str(whole))
        # What moves keeps its second part, so that it does not jump.
        if whole % 60 == 0 and whole < 3600 and not running:
            return self.t("time.min.whole", m=str(whole // 60))
        if whole < 3600:
            return self.t("time.min", m=str(whole // 60), s=f"{whole % 60:02}")
        if whole < 86400:
            return self.t("time.h", h=str(whole // 3600), m=str(whole % 3600 // 60))
        return self.t("time.d", d=self.number(whole // 86400), h=str(whole % 86400 // 3600))

    def speed(self, value: float | None) -> Text:
        if value is None:
            return self.unknown
        return self.number(value, 0 if value >= 9.95 else 1)

    def size(self, value: float) -> str:
        for unit, key in ((1e9, "unit.gb"), (1e6, "unit.mb"), (1e3, "unit.kb")):
            if value >= unit:
                return self.t(key, n=self.number(value / unit, 1 if unit == 1e9 else 0))
        return self.t("unit.b", n=self.number(value))

    def percent(self, value: float) -> str:
        rounded = _half_up(value * 10)
        return self.t("unit.percent", n=self.number(value, 0 if rounded % 10 == 0 else 1))

    def clock(self, moment: float) -> str:
        return datetime.fromtimestamp(moment).strftime("%H:%M:%S")

    def moment(self, moment: float, now: float) -> str:
        """The clock today, else day and clock."""
        if _same_day(moment, now):
            return self.clock(moment)
        return self.day(moment, now)

    def day(self, moment: float, now: float) -> str:
        then, today = datetime.fromtimestamp(moment), datetime.fromtimestamp(now)
        values = {"d": str(then.day), "month": self.t("months").split()[then.month - 1]}
        if then.year != today.year:
            return self.t("date.year", y=str(then.year), **values)
        return self.t("date", time=then.strftime("%H:%M"), **values)

    def ago(self, moment: float, now: float) -> str:
        passed = max(0.0, now - moment)
        if passed < 5:
            return self.t("ago.now")
        if passed < 60:
            return self.t("ago.s", n=str(int(passed // 5) * 5))
        if passed < 3600:
            return self.t("ago.min", n=str(int(passed // 60)))
        return self.at(moment, now)

    def at(self, moment: float, now: float) -> str:
        """A moment with its preposition; without seconds."""
        if _same_day(moment, now):
            return self.t("ago.at", time=self.clock(moment)[:5])
        return self.t("ago.on", date=self.day(moment, now))

    def since(self, moment: float, now: float) -> str:
        if _same_day(moment, now):
            return self.t("since", time=self.clock(moment))
        return self.t("since.day", date=self.day(moment, now))
