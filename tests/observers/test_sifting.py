"""L4: the end of a long answer is not looked through for secrets at once, and nothing is missed."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator

import pytest

from ollama_proxy.observers.privacy import Held, Privacy
from ollama_proxy.observers.secrets import SHIPPED, Finder
from ollama_proxy.observers.sifting import AHEAD, STEP

KEY = "sk-" + "aZ09" * 8
SECRETS = (
    KEY,
    "joe.bloggs@mail.example.com",
    "4111 1111 1111 1111",
    "5500000000000004",
    "token: hunter2hunter2",
    f"Bearer {KEY}",
    "-----BEGIN PRIVATE KEY-----\n" + "MIIB" * 3000 + "\n-----END PRIVATE KEY-----",
    "eyJ" + "a" * 3000 + ".eyJ" + "b" * 6000 + ".c",
    "x" * 70 + "@example.com",
    "123" + "4111111111111111" + "9",
)
FILLING = ("a word ", "4444 ", "7 ", "\n", "@", "eyJ", "k-", "bearer ", "3.14, ", "é")


def texts() -> Iterator[str]:
    for seed in range(12):
        choice = random.Random(seed)
        pieces = [KEY]
        while sum(map(len, pieces)) < 5 * STEP:
            pieces += [choice.choice(FILLING)] * choice.randrange(400)
            pieces.append(choice.choice(SECRETS))
        yield "".join(pieces)


class Counting:
    """A finder that notes how much it is given to look at."""

    def __init__(self, finder: Finder) -> None:
        self._finder = finder
        self.looked: list[int] = []

    def finditer(self, string: str, pos: int = 0, /) -> Iterator[re.Match[str]]:
        self.looked.append(len(string) - pos)
        return self._finder.finditer(string, pos)

    def search(self, string: str, /) -> re.Match[str] | None:
        return self._finder.search(string)


def fed(held: Held, text: str, choice: random.Random) -> Held:
    at = 0
    while at < len(text):
        size = choice.choice((1, 3, 50, 2000))
        held.add(text[at : at + size])
        at += size
    return held


@pytest.mark.parametrize("mode", ["full", "hash"])
def test_what_is_taken_out_is_the_same_however_the_text_came(mode: str) -> None:
    privacy = Privacy.build(mode, redact=[r"word\s+4444"], secrets=SHIPPED)
    for text in texts():
        held = fed(Held(len(text) + 1, privacy.secrets), text, random.Random(len(text)))
        kept = privacy.keep_answer(held.text(), True, held.sifting)
        assert kept == privacy.keep_answer(text)
        assert kept is not None
        assert KEY not in kept


def test_no_look_is_at_more_than_what_came_since_the_last() -> None:
    """Numbers in groups, each of which may be a card's: they took a second for a million."""
    text = "4444 " * 100_000
    finders = [Counting(finder) for finder in SHIPPED.values()]
    held = fed(Held(1_000_000, finders), text, random.Random(1))
    assert held.sifting is not None
    held.sifting.end(text)
    for finder in finders:
        assert len(finder.looked) > 20
        assert max(finder.looked) <= STEP + AHEAD + 2000
        assert sum(finder.looked) < 2 * len(text)
