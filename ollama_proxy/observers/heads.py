"""What of a call's headers is kept: each name, and a value only where it is plainly harmless. Pure.

Whatever is not named here may be a key. In the modes `none` and `hash` nothing is kept at all. Not
here: what is kept of a call that can be made again (`capturing.py`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache

from ollama_proxy.headers import RawHeaders
from ollama_proxy.observers.privacy import MARK, Privacy, holds_none
from ollama_proxy.observers.secrets import Finder

MOST = 40
"""Headers of one side that are kept, in their order."""
LONGEST_NAME, LONGEST_VALUE = 64, 200

_WORDS = re.compile(rb"[\w!*+./;=, \"-]*")
_COUNTS = re.compile(rb"[0-9]{1,18}(?:\.[0-9]{1,6})?")
_DATE = re.compile(rb"[A-Za-z0-9,: ]{1,40}")
_PRINTED = re.compile(rb"[ -~]*")
_NUMBERS = {
    b"age": _COUNTS,
    b"content-length": _COUNTS,
    b"date": _DATE,
    b"retry-after": _COUNTS,
    b"x-deadline-seconds": _COUNTS,
}
"""Those whose value is another one each time, and can hold no text."""
_HARMLESS = {
    b"accept": _WORDS,
    b"accept-charset": _WORDS,
    b"accept-encoding": _WORDS,
    b"accept-language": _WORDS,
    b"allow": _WORDS,
    b"anthropic-version": _WORDS,
    b"cache-control": _WORDS,
    b"connection": _WORDS,
    b"content-encoding": _WORDS,
    b"content-type": _WORDS,
    b"expect": _WORDS,
    b"host": _PRINTED,
    b"keep-alive": _WORDS,
    b"te": _WORDS,
    b"transfer-encoding": _WORDS,
    b"user-agent": _PRINTED,
    b"vary": _WORDS,
}


def kept(lines: Iterable[tuple[bytes, bytes]], privacy: Privacy) -> list[list[str | None]] | None:
    """Pairs of a name and its value, or None for one that is not kept; no list at all in a mode
    that keeps nothing. Names and values are redacted by what takes secrets out of texts."""
    if privacy.strict:
        return None
    finders = privacy.finders
    pairs: list[list[str | None]] = []
    for name, value in lines:
        pattern = _NUMBERS.get(name.lower())
        if pattern is None:
            pairs.append(_pair(name[: LONGEST_NAME + 1], value[: LONGEST_VALUE + 1], finders))
        else:
            pairs.append([name.decode(), value.decode() if pattern.fullmatch(value) else None])
        if len(pairs) == MOST:
            break
    return pairs


def lines_of(head: bytes) -> RawHeaders:
    """The headers of a head, from its first line to its blank one."""
    parts = (line.partition(b":") for line in head.split(b"\r\n")[1:-2])
    return [(name, value.strip(b" \t")) for name, _, value in parts]


@lru_cache(maxsize=512)
def _told(name: bytes, value: bytes, finders: tuple[Finder, ...]) -> tuple[str, str | None]:
    short = name[:LONGEST_NAME].decode("latin-1")
    if not holds_none(short, finders):
        return MARK, None
    pattern = _HARMLESS.get(name.lower())
    if pattern is None or len(value) > LONGEST_VALUE or not pattern.fullmatch(value):
        return short, None
    text = value.decode("ascii")
    return short, text if holds_none(text, finders) else None


def _pair(name: bytes, value: bytes, finders: tuple[Finder, ...]) -> list[str | None]:
    # Of a value that is not kept nothing goes into the cache.
    harmless = name.lower() in _HARMLESS
    return list(_told(name, value if harmless else b"", finders))
