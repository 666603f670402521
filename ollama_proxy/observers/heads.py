"""What of a call's headers is kept: each name, and a value only where it is plainly harmless. Pure.

Whatever is not named here may be a key. In the modes `none` and `hash` nothing is kept at all. Not
here: what is kept of a call that can be made again (`capturing.py`).
"""

from __future__ import annotations

import re
from functools import lru_cache

from ollama_proxy.observers.privacy import MARK, Privacy, holds_none
from ollama_proxy.observers.secrets import Finder

MOST = 40
"""Headers of one side that are kept, in their order."""
LONGEST_NAME, LONGEST_VALUE = 64, 200

_WORDS = re.compile(rb"[\w!*+./;=, \"-]*")
_COUNTS = re.compile(rb"[0-9]{1,12}(?:\.[0-9]{1,6})?")
"""Shorter than the number of a card."""
_DATE = re.compile(rb"[A-Z][a-z]{2}, \d\d [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d GMT")
_HOST = re.compile(rb"[\w.:\[\]-]*")
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
    b"host": _HOST,
    b"keep-alive": _WORDS,
    b"te": _WORDS,
    b"transfer-encoding": _WORDS,
    b"user-agent": _PRINTED,
    b"vary": _WORDS,
}


def kept(head: bytes, privacy: Privacy) -> list[list[str | None]] | None:
    """Of a head, from its first line to its blank one, pairs of a name and its value, or None for
    one that is not kept; no list at all in a mode that keeps nothing. Names and values are redacted
    by what takes secrets out of texts."""
    if privacy.strict:
        return None
    finders = privacy.finders
    pairs: list[list[str | None]] = []
    for line in head.split(b"\r\n")[1:-2][:MOST]:
        name, _, value = line.partition(b":")
        told, form, counts = _named(name, finders)
        if form is None:
            pairs.append([told, None])
        elif counts:
            text = value.decode("ascii") if form.fullmatch(value := value.strip(b" \t")) else None
            if text is not None and privacy.redact and not holds_none(text, privacy.redact):
                text = None
            pairs.append([told, text])
        else:
            pairs.append([told, _valued(form, value.strip(b" \t")[: LONGEST_VALUE + 1], finders)])
    return pairs


Form = re.Pattern[bytes]


@lru_cache(maxsize=512)
def _named(name: bytes, finders: tuple[Finder, ...]) -> tuple[str, Form | None, bool]:
    """The name as it is told, the form of a value that is kept, and whether that holds no text."""
    long = name[: 8 * LONGEST_NAME].decode("latin-1")
    if not holds_none(long, finders):
        return MARK, None, False
    key = name.lower()
    return long[:LONGEST_NAME], _NUMBERS.get(key) or _HARMLESS.get(key), key in _NUMBERS


@lru_cache(maxsize=512)
def _valued(form: Form, value: bytes, finders: tuple[Finder, ...]) -> str | None:
    if len(value) > LONGEST_VALUE or not form.fullmatch(value):
        return None
    text = value.decode("ascii")
    return text if holds_none(text, finders) else None
