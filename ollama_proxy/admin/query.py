"""What a list of calls is asked for: query parameters, or a command's flags, to a `Filter`.

Pure functions. Not here: which calls a filter describes (`filters.py`), where they come from.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Mapping
from datetime import UTC, datetime
from typing import TypeVar

from ollama_proxy.exchange import Reason, State
from ollama_proxy.filters import place_of
from ollama_proxy.ids import ID_ALPHABET, first_id
from ollama_proxy.records import FINDINGS, SORTS, Filter
from ollama_proxy.storage.base import MAX_LIMIT

T = TypeVar("T")

FILTERS = {
    "limit": "At most so many, the newest.",
    "before": "Older than the call of this id.",
    "client": "Of this client, exactly as it is told.",
    "model": "Of this model, in any spelling of its name.",
    "state": "In this state, such as completed or failed.",
    "route": "To this path, such as /api/chat.",
    "reason": "Not completed for this reason, such as client_disconnected.",
    "since": "Begun since: 2h or 7d (ago), ISO 8601 (UTC unless it says), or seconds since 1970.",
    "until": "Begun before that, told in the same ways.",
    "slower_than": "That took more seconds than this.",
    "ended_after": "That ended after that moment, told in the same ways, or run still: with until,"
    " all that ran within a span. Those begun more than a day before are not looked at.",
    "finding": "That this finding names, by its id.",
    "insight": "That a finding of this kind names; reload and slow are all that begin so.",
    "text": "With this in the prompt, the answer or the error as far as kept, in any case.",
}
"""Each parameter, and which calls it asks for."""

NEWEST = "newest"
ORDER = {
    "sort": "In this order: the newest first, or by this field, the most first, unknown last.",
    "after": "Of a list that is sorted by a field: behind this place, as the link onward has it.",
}
"""What a list takes besides, and a download, which is the newest first, does not."""
INSIGHTS = (*FINDINGS, "reload", "slow")

PAGE = 50
LONGEST = 86400.0
"""Seconds by which a call may have begun before the moment that it is to have ended after."""
NO_LIMIT = 999_999_999
TEXT_LIMIT = 200
_NAME_LIMIT = 1000
_ID = frozenset(ID_ALPHABET)
_NUMBER = re.compile("[0-9]{1,9}").fullmatch
_DECIMAL = re.compile(r"[0-9]{1,12}(\.[0-9]{1,9})?", re.ASCII).fullmatch
_AGO = re.compile("([0-9]{1,9})([smhdw])").fullmatch
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}
_LAST_MOMENT = 2.0**48 / 1000  # what the 48 bits of an id's time can tell
_SHOWN = 100  # characters of a wrong value that the answer repeats


class ParameterError(ValueError):
    """A parameter that is not known, or has no such value; the text says what would be right."""


def single(pairs: Iterable[tuple[str, str]], known: Collection[str]) -> dict[str, str]:
    """The parameters, each once. Raises ParameterError."""
    found: dict[str, str] = {}
    for name, value in pairs:
        if name not in known:
            takes = f"it takes {', '.join(known)}" if known else "it takes none"
            raise ParameterError(f"{name[:_SHOWN]}: no such parameter here; {takes}")
        if name in found:
            raise ParameterError(f"{name}: given more than once")
        found[name] = value
    return found


def parse_filter(
    parameters: Mapping[str, str], now: float, *, limit: int = PAGE, most: int = MAX_LIMIT
) -> Filter:
    """`now` in seconds since 1970; `limit` where none is given. Raises ParameterError."""

    def parsed(name: str, parse: Callable[[str], T], right: str) -> T | None:
        value = parameters.get(name)
        try:
            return None if value is None else parse(value)
        except ValueError:
            shown = " ".join((value or "")[:_SHOWN].split())
            raise ParameterError(f"{name}={shown}: must be {right}") from None

    def moment(text: str) -> str:
        return first_id(_moment(text, now))

    def at_least(since: str | None, ended_after: float | None) -> str | None:
        if ended_after is None:
            return since
        return max(since or "", first_id(max(0.0, ended_after - LONGEST)))

    time = "a time: 2h or 7d (ago), 2026-01-31T12:00:00Z, or seconds since 1970"
    sort = parsed("sort", _sort, f"one of {', '.join((NEWEST, *SORTS))}")
    ended_after = parsed("ended_after", lambda text: _moment(text, now), time)
    count = parsed("limit", lambda text: _count(text, most), f"a whole number from 1 to {most}")
    return Filter(
        limit=limit if count is None else count,
        before=parsed("before", _id, "the id of a call, 26 characters"),
        since=at_least(parsed("since", moment, time), ended_after),
        until=parsed("until", moment, time),
        client=parsed("client", _name, "the name of a client"),
        model=parsed("model", _name, "the name of a model"),
        state=parsed("state", State, f"one of {', '.join(State)}"),
        route=parsed("route", _path, "a path that begins with /"),
        reason=parsed("reason", Reason, f"one of {', '.join(Reason)}"),
        finding=parsed("finding", _name, "the id of a finding"),
        insight=parsed("insight", _insight, f"one of {', '.join(INSIGHTS)}"),
        sort=sort,
        after=parsed("after", lambda text: _after(text, sort), "as the link to the next page has"),
        ended_after=ended_after,
        slower_than=parsed("slower_than", _decimal, "a number of seconds, 0 or more"),
        text=parsed("text", _text, f"1 to {TEXT_LIMIT} characters, none of them NUL"),
    )


def whole_number(name: str, text: str | None) -> int | None:
    """One parameter that is a whole number, or not given. Raises ParameterError."""
    if text is None:
        return None
    if not _NUMBER(text):
        raise ParameterError(f"{name}={text[:_SHOWN]}: must be a whole number from 0 to {NO_LIMIT}")
    return int(text)


def is_id(text: str) -> bool:
    """Whether this can be a call's id (a ULID)."""
    return len(text) == 26 and _ID.issuperset(text)


# Each of these raises ValueError for what is none.


def _count(text: str, most: int) -> int:
    if not _NUMBER(text) or not 1 <= int(text) <= most:
        raise ValueError
    return int(text)


def _id(text: str) -> str:
    if not is_id(text):
        raise ValueError
    return text


def _insight(text: str) -> str:
    if text not in INSIGHTS:
        raise ValueError
    return text


def _sort(text: str) -> str | None:
    if text not in (NEWEST, *SORTS):
        raise ValueError
    return None if text == NEWEST else text


def _after(text: str, sort: str | None) -> str:
    if sort is None or not is_id(place_of(text)[1]):
        raise ValueError
    return text


def _decimal(text: str) -> float:
    if not _DECIMAL(text):
        raise ValueError
    return float(text)


def _name(text: str) -> str:
    """A command line may hold bytes that are not UTF-8: those no store can be asked for."""
    text.encode()
    if not 0 < len(text) <= _NAME_LIMIT or "\0" in text:
        raise ValueError
    return text


def _path(text: str) -> str:
    if not text.startswith("/"):
        raise ValueError
    return _name(text)


def _text(text: str) -> str:
    if len(text) > TEXT_LIMIT:
        raise ValueError
    return _name(text)


def _moment(text: str, now: float) -> float:
    """Seconds since 1970."""
    if ago := _AGO(text):
        return max(0.0, now - int(ago[1]) * _SECONDS[ago[2]])
    if _DECIMAL(text):
        moment = float(text)
    else:
        told = datetime.fromisoformat(text)
        moment = (told if told.tzinfo else told.replace(tzinfo=UTC)).timestamp()
    if not 0 <= moment < _LAST_MOMENT:
        raise ValueError
    return moment
