"""What a list of calls is asked for: query parameters to a `Filter`, and which calls it describes.

Pure functions. Not here: where the calls come from.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping

from ollama_proxy.exchange import ID_ALPHABET, Call, State, model_key
from ollama_proxy.records import Filter
from ollama_proxy.storage.base import MAX_LIMIT

FILTERS = ("limit", "before", "model", "state")
_ID = frozenset(ID_ALPHABET)
_NUMBER = re.compile("[0-9]{1,9}").fullmatch
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


def parse_filter(parameters: Mapping[str, str]) -> Filter:
    """Raises ParameterError."""
    limit = parameters.get("limit", "50")
    before, model = parameters.get("before"), parameters.get("model")
    state = parameters.get("state")
    if not (_NUMBER(limit) and 1 <= int(limit) <= MAX_LIMIT):
        _wrong("limit", limit, f"a whole number from 1 to {MAX_LIMIT}")
    if before is not None and not is_id(before):
        _wrong("before", before, "the id of a call, 26 characters")
    if model is not None and not 0 < len(model) <= 1000:
        _wrong("model", model, "the name of a model")
    if state is not None and state not in list(State):
        _wrong("state", state, f"one of {', '.join(State)}")
    return Filter(limit=int(limit), before=before, model=model, state=state)


def _wrong(name: str, value: str, right: str) -> None:
    raise ParameterError(f"{name}={value[:_SHOWN]}: must be {right}")


def is_id(text: str) -> bool:
    """Whether this can be a call's id (a ULID)."""
    return len(text) == 26 and _ID.issuperset(text)


def matches(call: Call, wanted: Filter) -> bool:
    """Whether the filter, but for its limit, describes the call."""
    return (
        (wanted.before is None or call.id < wanted.before)
        and (wanted.state is None or call.state == wanted.state)
        and (wanted.model is None or same_model(call.model, wanted.model))
    )


def same_model(one: str | None, other: str) -> bool:
    return one == other or (one is not None and model_key(one) == model_key(other))


def spellings(name: str | None) -> list[str | None]:
    """The spellings under which a store, which compares exactly, may know the model."""
    if name is None:
        return [None]
    key = model_key(name)
    return list(dict.fromkeys([name, key, key.removesuffix(":latest")]))
