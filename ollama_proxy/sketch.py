"""What is known of a prompt without its text: how long it is, of what kinds of characters, and
whether it goes on where another one ended. Pure.

The marks are made with a key that this process drew: they tell that two beginnings are equal, in
this process, and nothing else. A sketch is never stored. Not here: how a request is read
(`observers/requests.py`), what follows from a sketch (`insights/`).
"""

from __future__ import annotations

import re
from array import array
from collections.abc import Iterable

import msgspec

MAX_PARTS = 512
"""Messages that are sketched; of a longer conversation it is not known what was dropped."""

CLASSES = ("letters", "digits", "blanks", "signs", "latin", "other_alphabets", "cjk", "others")
"""Kinds of characters that a tokenizer treats alike, in the order of `Part.counts`."""

Counts = tuple[int, int, int, int, int, int, int, int]

_LETTERS = bytes(range(65, 91)) + bytes(range(97, 123))
_DIGITS = b"0123456789"
_BLANKS = b" \t\n\r\x0b\x0c"
_LATIN = re.compile("[\x80-\u024f\u1e00-\u1eff]")
_ALPHABETS = re.compile("[\u0370-\u052f\u0590-\u06ff\u0900-\u0dff\u1f00-\u1fff]")
_CJK = re.compile("[\u1100-\u11ff\u2e80-\ua4cf\uac00-\ud7af\uf900-\ufaff\uff00-\uffef]")


BLOCK, MOST_BLOCKS = 64, 512
SHORTEST = 1024
"""Characters; of a shorter prompt no blocks are marked."""


class Part(msgspec.Struct, frozen=True, gc=False):
    """One message. `mark` names all up to and with this one."""

    role: str
    counts: Counts
    mark: int


class Sketch(msgspec.Struct, frozen=True, gc=False):
    """A prompt in messages, `size` bytes of UTF-8 all together.

    `plain` False: something else takes tokens, too, and nobody knows how many (images, tools, a
    template of the request's own), or not all of the request was seen. `may_cut` False: the client
    asked for an error rather than a cut prompt. `blocks` are marks of the text, 8 bytes each of so
    many characters as `block` says, whatever stands before; empty where it is short.
    """

    parts: list[Part]
    size: int
    plain: bool = True
    may_cut: bool = True
    blocks: bytes = b""
    block: int = BLOCK


def sketch(turns: Iterable[tuple[str, str | None]], plain: bool, may_cut: bool = True) -> Sketch:
    """Of the messages, role and text, in their order."""
    parts: list[Part] = []
    texts: list[str] = []
    size = mark = 0
    for role, text in turns:
        if len(parts) == MAX_PARTS:
            plain = False
            break
        text = text or ""
        texts.append(text)
        size += len(text) if text.isascii() else len(text.encode("utf-8", "replace"))
        mark = hash((mark, role, text))
        parts.append(Part(role, counted(text), mark))
    blocks, block = _marked(texts)
    return Sketch(parts, size, plain, may_cut, blocks, block)


def _marked(texts: list[str]) -> tuple[bytes, int]:
    """The marks of the whole text's blocks, and how long they are: a power of two."""
    length = sum(map(len, texts)) + len(texts)
    if length < SHORTEST:
        return b"", BLOCK
    text, block = "\n".join(texts), BLOCK
    while length > block * MOST_BLOCKS:
        block *= 2
    whole = range(0, length - block, block)  # the last one is cut, and so never the same
    return array("q", [hash(text[at : at + block]) for at in whole]).tobytes(), block


def counted(text: str) -> Counts:
    """How many characters of each class; some 3 us for a thousand."""
    ascii_only = text.isascii()
    data = text.encode("ascii", "ignore")
    letters, digits, blanks = (
        len(data) - len(data.translate(None, kind)) for kind in (_LETTERS, _DIGITS, _BLANKS)
    )
    signs = len(data) - letters - digits - blanks
    if ascii_only:
        return letters, digits, blanks, signs, 0, 0, 0, 0
    latin, alphabets, cjk = (len(kind.findall(text)) for kind in (_LATIN, _ALPHABETS, _CJK))
    others = len(text) - len(data) - latin - alphabets - cjk
    return letters, digits, blanks, signs, latin, alphabets, cjk, others
