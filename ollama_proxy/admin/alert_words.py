"""Flips of alerts in words: a title and a sentence, each one line, in each language.

Not here: when something flips (`alerts/`), their answers in JSON (`alerts.py`), the page.
"""

from __future__ import annotations

import re

from ollama_proxy.admin.findings import full
from ollama_proxy.admin.words import Words, visible
from ollama_proxy.alerts.flips import TAKEN_AWAY
from ollama_proxy.alerts.kinds import KINDS
from ollama_proxy.records import Flip

_NO_BREAK = "\u00a0"
NAME, DETAIL = 100, 200
"""The most characters of a name, and of what else was told."""


def told(flip: Flip, test: bool, words: Words) -> tuple[str, str]:
    """Title and text, for a message: with plain spaces, as logs and terminals have them."""
    rule = visible(flip.rule)
    if test:
        found = words.t("alert.title.test", rule=rule), words.t("alert.test", rule=rule)
    else:
        found = title(flip, words), sentence(flip, words)
    return plain(found[0]), plain(found[1])


def plain(text: str) -> str:
    """Without the spaces that keep a number and its unit on one line."""
    return text.replace(_NO_BREAK, " ")


def title(flip: Flip, words: Words) -> str:
    """The rule, and whom it is about."""
    rule = visible(flip.rule)
    if flip.subject:
        rule = words.t("alert.of", rule=rule, subject=_short(flip.subject, NAME))
    return words.t(f"alert.title.{flip.new}", rule=rule)


def sentence(flip: Flip, words: Words) -> str:
    """What is wrong, or not any more. A model's or a client's name in it is made visible."""
    if flip.kind not in KINDS:
        return words.t("alert.unknown")  # stored by another version
    unit, _ = KINDS[flip.kind]
    key = f"alert.said.{flip.kind}"
    if flip.new == "ok":
        key = f"alert.good.{flip.kind}" if unit == "yes" else "alert.good"
        key = "alert.taken_away" if flip.detail == TAKEN_AWAY else key
    elif flip.kind == "prompt_cut" and flip.detail:
        key += ".whose"
    text = words.t(
        key,
        value=measured(flip.value, unit, words),
        limit=measured(flip.limit or 0.0, unit, words),
        within=full(words.seconds(flip.within)),
        subject=_short(flip.subject, NAME) or words.t("alert.somebody"),
        detail=_detail(flip, words),
    )
    named = "{subject}" in words.catalogue[key]
    return text if named or not flip.subject else f"{_short(flip.subject, NAME)}: {text}"


def _detail(flip: Flip, words: Words) -> str:
    """A cause, or whose it is; of cut prompts also how many other clients', as `rules.py` says."""
    told = flip.detail or words.t("cause.unknown")
    others = re.fullmatch(r"(.+) \+([0-9]{1,4})", told) if flip.kind == "prompt_cut" else None
    if others is None:
        return _short(told, DETAIL)
    return words.n("alert.and_others", int(others[2]), whose=_short(others[1], DETAIL))


def measured(value: float, unit: str, words: Words) -> str:
    """A value in its unit."""
    if unit == "seconds":
        return full(words.seconds(value))
    return words.percent(value) if unit == "percent" else words.number(value)


def _short(text: str, most: int) -> str:
    seen = visible(text)
    return seen if len(seen) <= most else seen[: most - 1] + "…"
