"""Which calls a `Filter` describes: one meaning for those in memory and for those in a store.

`storage/search.py` says the same in SQL; a test compares the two. Not here: how a filter is asked
for (`admin/query.py`), SQL.
"""

from __future__ import annotations

import math
from fnmatch import fnmatchcase
from functools import lru_cache

from ollama_proxy.exchange import Call, State, model_key
from ollama_proxy.ids import epoch, first_id
from ollama_proxy.records import FINDINGS, Filter

_HOST, _NAMESPACE, _TAG = "registry.ollama.ai/", "library/", ":latest"


def matches(call: Call, wanted: Filter) -> bool:
    """Whether the filter, but for its limit, describes the call."""
    return (
        wanted.finding is wanted.insight is None  # of which calls that is only the store knows
        and (wanted.before is None or call.id < wanted.before)
        and (wanted.since is None or call.id >= wanted.since)
        and (wanted.until is None or call.id < wanted.until)
        and wanted.client in (None, call.client)
        and wanted.state in (None, call.state)
        and wanted.route in (None, call.path)
        and wanted.reason in (None, call.reason)
        and (wanted.model is None or _is_named(call.model, wanted.model))
        and (wanted.slower_than is None or _took_longer(call, wanted.slower_than))
        and (wanted.ended_after is None or _ran_on(call, wanted.ended_after))
        and (wanted.text is None or _says(call, wanted.text))
        and (wanted.sort is None or wanted.after is None or _follows(call, wanted))
    )


def place(call: Call, sort: str | None) -> tuple[float, str]:
    """Where a call stands in a list; the highest first. What is not known comes last."""
    value = None if sort is None else getattr(call, sort)
    return (-1 if value is None else value, call.id)


def place_text(place: tuple[float, str]) -> str:
    return f"{place[0]}_{place[1]}"


def place_of(text: str) -> tuple[float, str]:
    """What `place_text` made a text of. Raises ValueError for what is none."""
    number, _, id = text.partition("_")
    value = int(number) if number.isdecimal() and len(number) < 20 else float(number)
    if not id or not math.isfinite(value) or abs(value) >= 2**63:
        raise ValueError
    return value, id


def kinds_of(insight: str) -> list[str]:
    """The kinds of findings that are meant: one, or those whose names begin so (reload, slow)."""
    return [kind for kind in FINDINGS if kind == insight or kind.startswith(insight + "_")]


@lru_cache(maxsize=16)
def spellings(model: str) -> tuple[str, ...]:
    """All the names of the model, but for the case of A to Z: Ollama fills in what is left out."""
    key = model_key(model)
    names = [key, key.removesuffix(_TAG)]
    found = [start + one for start in ("", _NAMESPACE, _HOST, _HOST + _NAMESPACE) for one in names]
    return tuple(dict.fromkeys([model, *(one for one in found if model_key(one) == key)]))


@lru_cache(maxsize=16)
def spelt(text: str) -> tuple[str, ...]:
    """The text as it is, in small letters and in capitals; once what differs by A to Z only.

    So `è` finds `È` too, where a comparison knows the case of A to Z alone, as SQLite's does.
    """
    return tuple({_folded(one): one for one in (text, text.lower(), text.upper())}.values())


def alike(name: str, pattern: str) -> bool:
    """Whether a name is as a rule has it: compared whole, in any case; `*` is anything."""
    return fnmatchcase(name.lower(), pattern.lower())


def model_alike(name: str, pattern: str) -> bool:
    """The same of a model, whose name may leave out what Ollama fills in."""
    return alike(name, pattern) or alike(model_key(name), model_key(pattern))


def _is_named(model: str | None, wanted: str) -> bool:
    return model is not None and _folded(model) in _spellings(wanted)


@lru_cache(maxsize=16)
def _spellings(wanted: str) -> frozenset[bytes]:
    return frozenset(map(_folded, spellings(wanted)))


def _follows(call: Call, wanted: Filter) -> bool:
    return place(call, wanted.sort) < place_of(wanted.after or "")


def _took_longer(call: Call, seconds: float) -> bool:
    return call.duration is not None and call.duration > seconds


def _ran_on(call: Call, moment: float) -> bool:
    """Whether it began after that or was not over by then; not, where no end of it is known."""
    if call.id >= first_id(moment) or call.state == State.RUNNING:
        return True
    return call.duration is not None and epoch(call.started_at) + call.duration > moment


def _says(call: Call, text: str) -> bool:
    """Whether prompt, answer or error hold the text. SQLite's LIKE sees a text up to its NUL."""
    sought = [_folded(one) for one in spelt(text)]
    texts = (call.prompt, call.response, call.error)
    folded = [_folded(text.partition("\0")[0]) for text in texts if text is not None]
    return any(one in text for text in folded for one in sought)


def _folded(text: str) -> bytes:
    """For comparison: of bytes only A to Z have a small form. Surrogates as the store has them."""
    return text.encode(errors="replace").lower()
