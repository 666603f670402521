"""Programs that go past the proxy, as the pages tell of them: a line, and a row for each.

Mirrors `around.js` in the dashboard. Not here: how they are seen (`ollama_proxy/around.py`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ollama_proxy.admin.words import Said, Words, name
from ollama_proxy.bypass import UNKNOWN
from ollama_proxy.ids import epoch

FRESH = 3600.0  # seconds: the overview tells of those seen since


def line(w: Words, around: Mapping[str, Any], now: float) -> str:
    """Who was seen lately, the last by name; nothing where there is none. `around`: as REST has it,
    the latest first."""
    programs = [one for one in _programs(around) if epoch(one["last_seen"]) > now - FRESH]
    if not programs:
        return ""
    last = programs[0]
    ago = w.ago(epoch(last["last_seen"]), now)
    return w.n("around.line", len(programs), name=_named(w, last["name"]), ago=ago)


def rows(w: Words, around: Mapping[str, Any], now: float) -> list[tuple[str, str]]:
    """Each program, and how often and when it was seen."""
    return [(_named(w, one["name"]), _seen(w, one, now)) for one in _programs(around)]


def _programs(around: Mapping[str, Any]) -> list[dict[str, Any]]:
    programs: list[dict[str, Any]] = around.get("programs", [])
    return programs


def _seen(w: Words, one: Mapping[str, Any], now: float) -> str:
    first, last = (w.moment(epoch(one[key]), now) for key in ("first_seen", "last_seen"))
    return w.n("around.seen", one["count"], first=first, last=last)


def _named(w: Words, program: str) -> str:
    short = name(w.t("around.unknown") if program == UNKNOWN else program, 40)
    return short.shown if isinstance(short, Said) else short
