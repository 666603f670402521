"""Options that differ between two calls: written into a text, and those of many calls summed up.

Pure. Not here: which options differ (`reloads.py`), sentences (`admin/findings.py`).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ollama_proxy.records import Changed, Values

NOT_NAMED = "\u2013"
RELOAD = "reload"
MOST_VALUES = 3
"""Of an option on each side that are told: the commonest, and that which decides what to change:
one that is no number, or else the largest."""

_CHANGED = re.compile(r"(\w+) (\S+) \u2192 (\S+)")
_NUMBER = re.compile("[0-9]{1,18}")


def names(changed: Mapping[str, Sequence[Any]]) -> str:
    """Of the options that differ: what a finding is about, whatever their values."""
    return ", ".join(changed)


def written(changed: Mapping[str, Sequence[Any]]) -> str:
    """Options with their old and their new values, as they are kept of each call."""
    return ", ".join(
        f"{name} {_value(old)} \u2192 {_value(new)}" for name, (old, new) in changed.items()
    )


def summed_up(texts: Iterable[tuple[str, int]]) -> list[Changed]:
    """Texts that `written` wrote, each with how many calls it is of. One that cannot be read is
    left out, as a client may have sent anything as a value."""
    found: dict[str, tuple[Counter[str], Counter[str]]] = {}
    for text, calls in texts:
        matches = [_CHANGED.fullmatch(part) for part in text.split(", ")]
        for name, *values in (match.groups() for match in matches if match and all(matches)):
            for counter, value in zip(
                found.setdefault(name, (Counter(), Counter())), values, strict=True
            ):
                counter[value] += calls
    return [Changed(name, _told(old), _told(new)) for name, (old, new) in found.items()]


def number(value: str) -> int | None:
    """Its number, where it is a whole one that is not too large."""
    return int(value) if _NUMBER.fullmatch(value) else None


def _told(values: Counter[str]) -> Values:
    told = [value for value, _ in values.most_common(MOST_VALUES)]
    numbers = {value: number(value) or 0 for value in values if number(value) is not None}
    others = [value for value in values if value not in numbers]
    decides = others[0] if others else max(numbers, key=numbers.__getitem__)
    if decides not in told:
        told[-1] = decides
    return Values(told, len(values) - len(told))


def _value(value: object) -> str:
    """As JSON writes it; an option that was not named is a dash."""
    if value is None:
        return NOT_NAMED
    return str(value).lower() if isinstance(value, bool) else str(value)
