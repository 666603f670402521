"""JSON that may be broken, cut off, or of wrong types, read without raising: pure functions.

What cannot be read is None or missing, never a guess. Not here: which fields mean what.
"""

from __future__ import annotations

import codecs
import json
import re
from typing import Any, Generic, TypeVar

import msgspec

from ollama_proxy.observers.privacy import readable

NAME_LIMIT = 256
LONG_DOCUMENT = 256 * 1024
MANY_VALUES = 100_000
"""Values of a long document above which it is not read: objects are made of each, and the loop
stands still meanwhile."""

T = TypeVar("T", bound=msgspec.Struct)
V = TypeVar("V")

# A bound for integers that every store and every reader of JSON can hold exactly.
_INTEGER_LIMIT = 2**53
_DESCENT = 3
_CUT_NUMBER = re.compile(r"\.?|[eE][-+]?")  # what may follow a number whose end was not seen
_BLANK = re.compile(r"[ \t\r\n]*")
_MISSING: Any = object()
_json = json.JSONDecoder()


class CutText(str):
    """A string of which only the beginning was seen."""


class Form(Generic[T]):
    """Reads the fields of one kind of request. Give the struct fields of type Any: see `text`."""

    def __init__(self, kind: type[T]) -> None:
        self._kind = kind
        self._decoder = msgspec.json.Decoder(kind)

    def read(self, body: bytes, whole: bool) -> tuple[T, bool]:
        """The fields, and whether the body was seen and understood as a whole."""
        fields = decode(self._decoder, body) if whole else None
        if fields is not None:
            return fields, True
        names = self._kind.__struct_fields__
        found = {name: value for name, value in scan(body).items() if name in names}
        return self._kind(**found), False


def decode(decoder: msgspec.json.Decoder[V], data: bytes) -> V | None:
    """The decoded value, or None for anything that is not valid, too deep, or of another type.

    None, too, for a long document of too many values; see `usual`.
    """
    if len(data) > LONG_DOCUMENT and values(data) > MANY_VALUES:
        return None
    try:
        return decoder.decode(data)
    except (ValueError, RecursionError):
        return None


def usual(document: bytes, decoder: msgspec.json.Decoder[Any], kind: type[V]) -> V | None:
    """A long document of too many values as `kind`, if it is of the usual types.

    `decoder` reads no list and no object of unknown size: what it skips makes no objects.
    """
    if len(document) <= LONG_DOCUMENT:
        return None
    try:
        return msgspec.json.decode(msgspec.json.encode(decoder.decode(document)), type=kind)
    except (ValueError, RecursionError):
        return None


def values(document: bytes) -> int:
    """At most how many values a JSON document has: each follows a comma or begins a container."""
    return 1 + len(document) - len(document.translate(None, b",[{"))


def text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def name(value: object) -> str | None:
    """A short text such as a model's name, bounded; None for an empty or a cut one."""
    if not isinstance(value, str) or not value or isinstance(value, CutText):
        return None
    return readable(value[:NAME_LIMIT])


def flag(value: object) -> bool | None:
    return value if isinstance(value, bool) else None


def count(value: object) -> int | None:
    """A number of things: a plain integer that is not negative. `true` and 1.0 are neither."""
    return value if type(value) is int and 0 <= value < _INTEGER_LIMIT else None


def seconds(value: object) -> float | None:
    """Ollama's nanoseconds as seconds."""
    nanoseconds = count(value)
    return None if nanoseconds is None else nanoseconds / 1e9


def scan(body: bytes) -> dict[str, Any]:
    """The top-level fields of a JSON object that breaks off somewhere, as far as they were seen.

    Of a string that is cut its beginning is kept, as `CutText`; of a list, such as the messages,
    what was seen of it. A number at the very end may go on: it is left out, as is a cut object.
    """
    document = codecs.getincrementaldecoder("utf-8")("replace").decode(body)
    at = _after_blank(document, 0)
    return _members(document, at + 1, _DESCENT) if document[at : at + 1] == "{" else {}


def _members(document: str, at: int, depth: int) -> dict[str, Any]:
    found: dict[str, Any] = {}
    while True:
        at = _after_blank(document, at)
        if document[at : at + 1] != '"':
            return found
        key, at = _value(document, at, 0)
        at = _after_blank(document, at)
        if key is _MISSING or document[at : at + 1] != ":":
            return found
        value, at = _value(document, _after_blank(document, at + 1), depth)
        if value is not _MISSING:
            found[key] = value
        at = _after_blank(document, at)
        if document[at : at + 1] != ",":
            return found
        at += 1


def _items(document: str, at: int, depth: int) -> list[Any]:
    found: list[Any] = []
    while True:
        value, at = _value(document, _after_blank(document, at), depth)
        if value is not _MISSING:
            found.append(value)
        at = _after_blank(document, at)
        if document[at : at + 1] != ",":
            return found
        at += 1


def _value(document: str, at: int, depth: int) -> tuple[Any, int]:
    """The value that begins at `at` and where it ends; the document's end if it is cut there.

    Each level parses the rest again, so only as many are entered as a message's text lies deep.
    """
    try:
        value, end = _json.raw_decode(document, at)
    except (ValueError, RecursionError):
        return _beginning(document, at, depth), len(document)
    number = isinstance(value, int | float) and not isinstance(value, bool)
    may_go_on = number and _CUT_NUMBER.fullmatch(document, end) is not None
    return (_MISSING if may_go_on else value), end


def _beginning(document: str, at: int, depth: int) -> Any:
    first = document[at : at + 1]
    if depth == 0:
        return _MISSING
    if first == '"':
        return _cut_text(document[at + 1 :])
    if first == "[":
        return _items(document, at + 1, depth - 1)
    if first == "{" and depth < _DESCENT:
        return _members(document, at + 1, depth - 1)
    return _MISSING


def _cut_text(part: str) -> Any:
    """The text of a JSON string without its end, which may lie inside an escape (`\\u00`)."""
    for dropped in range(min(6, len(part) + 1)):
        try:
            return CutText(json.loads(f'"{part[: len(part) - dropped]}"'))
        except ValueError:
            continue
    return _MISSING


def _after_blank(document: str, at: int) -> int:
    match = _BLANK.match(document, at)
    return at if match is None else match.end()
