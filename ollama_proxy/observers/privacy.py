"""What of a prompt, an answer or an error may be kept: the one gate that text passes.

Not here: where in the bytes a text is found (the other observers), where it is stored. Redaction
comes before cutting: a secret that lies across the cut is replaced whole, never cut in two. Which
rules a call has is in `policy.py`.

An error of the upstream's may quote the prompt, in any part and any spelling. So in the modes
`none` and `hash`, where a request may carry one, only errors that are known by heart are kept.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from enum import StrEnum
from functools import lru_cache

import msgspec

from ollama_proxy.observers.secrets import LONGEST, SHIPPED, Finder
from ollama_proxy.observers.sifting import STEP, Sifting, Spans

MARK = "[redacted]"
ERROR_LIMIT = 500
FULL_LIMIT = 1_000_000
"""Characters kept of one text in the modes `full` and `hash`: a call's memory stays bounded."""
PARTS_LIMIT = 4096
"""Pieces of a text that are kept apart: one of a single character takes 80 bytes."""
LOOKAHEAD = 4096
"""Characters seen past the last one kept, so that a pattern can match across the cut; for those of
`secrets.py` fewer do."""

_SECRETS = tuple(
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        r"\bbearer\s+[^\s\"',;]+",
        r"\bbasic\s+[a-z0-9+/=]{8,}",
        r"\bsk-[\w-]{4,}",
        r"\b(?:authorization|cookie)\b[\"']?\s*[:=]\s*[^\r\n]+",
        r"\bapi[_-]?key\b[\"']?\s*[:=]\s*[^\s,;]+",
        r"[?&](?:key|token)=[^&\s\"']+",
        r"(?<=//)[^/\s@\"']+@",
    )
)

NOT_KEPT = "(not kept in this privacy mode)"
_NAMED = r"[\"'](?P<model>[^\s\"']+)[\"']"
_ABILITY = "chat|completion|embeddings|embedding|generate|insert|thinking|tools|vision"
_SIZE = r"\(\d{1,4}(?:\.\d)? [KMGT]?i?B\)"
# As Ollama words them; nothing in them but the model's name and numbers is the client's.
_KNOWN_ERRORS = tuple(
    re.compile(pattern)
    for pattern in (
        rf"model {_NAMED} not found(?:, try pulling it first)?",
        rf"{_NAMED} does not support (?:{_ABILITY})",
        r"model is required",
        r"missing request body",
        r"unexpected EOF",
        r"an error was encountered while running the model(?:: unexpected EOF)?",
        r"llama runner process (?:has terminated|no longer running)",
        rf"model requires more system memory(?: {_SIZE} than is available(?: {_SIZE})?)?",
        r"server busy, please try again\.  ?maximum pending requests exceeded",
        r"request \(\d{1,9} tokens\) exceeds the available context size \(\d{1,9} tokens\)"
        r"(?:, try increasing it)?",
        r"(?:the )?input length exceeds (?:the|maximum) context length",
        r"This server does not support embeddings\. Start it with `--embeddings`",
        r"timed out waiting for llama runner to start",
        r"unauthorized",
        r"404 page not found",
        r"405 method not allowed",
    )
)


class Mode(StrEnum):
    """How much of prompts and answers is kept."""

    NONE = "none"
    TRUNCATE = "truncate"
    HASH = "hash"
    FULL = "full"


class Privacy(msgspec.Struct, frozen=True):
    """The rules for text: modes, the limit of the mode truncate, and what to take out.

    `mode` is that of prompts; `answers` that of answers, None where it is the same. `redact`: the
    user's own patterns; `secrets`: kinds that are shipped.
    """

    mode: Mode = Mode.TRUNCATE
    answers: Mode | None = None
    characters: int = 200
    redact: tuple[re.Pattern[str], ...] = ()
    secrets: tuple[Finder, ...] = ()

    @classmethod
    def build(
        cls,
        mode: str,
        characters: int = 200,
        redact: Iterable[str] = (),
        *,
        answers: str | None = None,
        secrets: Iterable[str] = (),
    ) -> Privacy:
        """From the configuration's plain values; `secrets` are names in `secrets.SHIPPED`.

        Raises ValueError, KeyError or re.error if they are not right.
        """
        return cls(
            Mode(mode),
            None if answers is None else Mode(answers),
            characters,
            tuple(re.compile(pattern) for pattern in redact),
            tuple(SHIPPED[name] for name in secrets),
        )

    def with_modes(self, mode: Mode | None, answers: Mode | None) -> Privacy:
        """The same with other modes, as far as they are given."""
        return msgspec.structs.replace(
            self, mode=mode or self.mode, answers=answers or self.of_answers
        )

    @property
    def of_answers(self) -> Mode:
        return self.answers or self.mode

    @property
    def strict(self) -> bool:
        """Whether of some text nothing may be kept."""
        return bool({self.mode, self.of_answers} & {Mode.NONE, Mode.HASH})

    @property
    def keeps_all(self) -> bool:
        """Whether prompt and answer are both kept whole."""
        return self.mode is self.of_answers is Mode.FULL

    @property
    def _lookahead(self) -> int:
        return LOOKAHEAD if self.redact else LONGEST if self.secrets else 0

    def wanted(self, mode: Mode) -> int:
        """Characters of a text that are needed to keep what this mode keeps of it."""
        if mode is Mode.NONE:
            return 0
        if mode is Mode.TRUNCATE:
            return self.characters + self._lookahead
        return FULL_LIMIT

    def keep(self, text: str | None, whole: bool = True) -> str | None:
        """What may be kept of a prompt. `whole` False: it went on, but that was not seen.

        The hash of a text that was not seen whole would name nothing: None. The end of such a text
        is not kept where a pattern might have matched had more of it been seen.
        """
        return self._kept(text, whole, self.mode)

    def keep_answer(
        self, text: str | None, whole: bool = True, sifting: Sifting | None = None
    ) -> str | None:
        """The same of an answer. `sifting` has looked for `secrets` in what it began with."""
        return self._kept(text, whole, self.of_answers, sifting)

    def _kept(
        self, text: str | None, whole: bool, mode: Mode, sifting: Sifting | None = None
    ) -> str | None:
        if text is None or mode is Mode.NONE:
            return None
        wanted = self.wanted(mode)
        whole = whole and len(text) <= wanted
        text = text[:wanted]
        end = len(text) if whole else max(0, len(text) - self._lookahead)
        if sifting is not None and mode in (Mode.FULL, Mode.HASH):
            kept = readable(without(text, spans_of(text, self.redact) + sifting.end(text), end))
        else:
            kept = readable(redacted(text, self.finders, end) if self.finders else text)
        if mode is Mode.TRUNCATE:
            return kept[: self.characters]
        if mode is Mode.FULL:
            return kept
        return digest(kept) if whole else None

    @property
    def finders(self) -> tuple[Finder, ...]:
        """What finds that which is to be taken out."""
        return self.redact + self.secrets

    def error(self, text: str) -> str:
        """An error's text without the patterns' matches and known kinds of secrets, bounded."""
        seen = text[: ERROR_LIMIT + 2 * LOOKAHEAD]
        end = len(seen) if seen == text else len(seen) - LOOKAHEAD
        return readable(redacted(seen, self.finders + _SECRETS, end))[:ERROR_LIMIT]

    def unquoted(self, text: str, model: str | None) -> str:
        """What may be kept of an error to a request that may carry a prompt and names `model`.

        Such an error may quote the prompt, from wherever in it. So of all that follows a known
        error at its beginning no more is kept than the mode keeps of a prompt.
        """
        end = {Mode.FULL: len(text), Mode.TRUNCATE: self.characters}.get(self.mode, 0)
        for pattern in _KNOWN_ERRORS:
            found = pattern.match(text)
            if found and found.groupdict().get("model", model) == model:
                end = max(end, found.end())
                break
        return text if end >= len(text) else f"{text[:end]} {NOT_KEPT}".lstrip()

    def named(self, text: str) -> str:
        """A model's name or a path, without what the patterns match: either may be anything.

        What follows a colon is a tag: `secret:latest` gives no secret away.
        """
        return _without(text, self.finders) if self.finders else text

    def hits(self, text: str) -> bool:
        """Whether one of the patterns matches somewhere in `text`."""
        return any(finder.search(text) for finder in self.finders)


@lru_cache(maxsize=512)
def _without(text: str, finders: tuple[Finder, ...]) -> str:
    plain = text.replace(":", " ")
    found = redacted(plain, finders, len(plain))
    return text if found == plain else found


class Held:
    """Collects an answer's text piece by piece, no more of it than is needed."""

    __slots__ = ("_next", "_parts", "_room", "_seen", "sifting")

    def __init__(self, wanted: int, secrets: Iterable[Finder] = ()) -> None:
        """`secrets` are looked for while it comes, where it may become long."""
        self._parts: list[str] = []
        self._room = wanted
        self._seen = False
        self.sifting = Sifting(secrets) if wanted > STEP else None
        self._next = wanted - STEP  # the room that is left when the next look is due

    @property
    def full(self) -> bool:
        return self._room <= 0

    def add(self, text: str) -> None:
        self._seen = True
        if text and self._room > 0:
            self._parts.append(text[: self._room])
            self._room -= len(text)
            due = self.sifting is not None and self._room < self._next
            if due or len(self._parts) == PARTS_LIMIT:
                self._parts = ["".join(self._parts)]
            if due and self.sifting is not None:
                self._next = self._room - STEP
                self.sifting.look(self._parts[0])

    def text(self) -> str | None:
        """What was collected; None if nothing ever came, which is not the same as empty text."""
        return "".join(self._parts) if self._seen else None


def redacted(text: str, finders: Iterable[Finder], end: int) -> str:
    """The first `end` characters of `text`; each match that begins there is replaced by a mark."""
    return without(text, spans_of(text, finders), end)


def spans_of(text: str, finders: Iterable[Finder]) -> Spans:
    return [found.span() for finder in finders for found in finder.finditer(text)]


def without(text: str, spans: Spans, end: int) -> str:
    """The same, of matches that were found before."""
    spans = sorted((start, stop) for start, stop in spans if stop > start)
    pieces: list[str] = []
    at = 0
    for start, stop in spans:
        if start >= end:
            break
        if start >= at:
            pieces += (text[at:start], MARK)
        at = max(at, stop)
    pieces.append(text[at:end])
    return "".join(pieces)


def holds_none(text: str, finders: Iterable[Finder]) -> bool:
    """Whether neither these nor what finds keys and passwords in an error find anything in it."""
    return not any(finder.search(text) for finder in (*finders, *_SECRETS))


def digest(text: str) -> str:
    """Names a text without telling it: equal texts have equal digests."""
    return "sha256:" + hashlib.sha256(text.encode()).hexdigest()[:16]


def readable(text: str) -> str:
    """`text` with lone surrogates, which no store can write, replaced by U+FFFD."""
    if text.isascii():
        return text
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
