"""Looks for secrets in a text while it comes, so that its end is not looked through all at once.

What is found is what a look at the whole text finds, where a secret shows what it is within
`AHEAD` characters or, as web tokens do, is one word: so this is for the kinds of `secrets.py`, not
for a user's own patterns. Not here: what becomes of what is found (`privacy.py`).
"""

from __future__ import annotations

from collections.abc import Iterable

from ollama_proxy.observers.secrets import LONGEST, Finder

STEP = 16 * 1024
"""Characters that have come since the last look before the next one is worth it."""
AHEAD = 4096
"""Characters from a secret's beginning that have to be here before it is looked for there."""

Spans = list[tuple[int, int]]


class Sifting:
    """One text's."""

    def __init__(self, finders: Iterable[Finder]) -> None:
        self._at = dict.fromkeys(finders, 0)  # from where on each has not decided yet
        self._spans: Spans = []

    def look(self, text: str) -> None:
        """All that has come so far, or nothing of it yet."""
        word = max(text.rfind(" "), text.rfind("\n")) + 1
        self._look(text, min(len(text) - AHEAD, word), ended=False)

    def end(self, text: str) -> Spans:
        """The text is whole: where all that was found begins and ends in it."""
        self._look(text, len(text), ended=True)
        return self._spans

    def _look(self, text: str, until: int, *, ended: bool) -> None:
        for finder, at in self._at.items():
            if until <= at:
                continue
            decided = max(at, until)
            for found in finder.finditer(text, at):
                start, stop = found.span()
                if start >= until:
                    break
                if not ended and stop > len(text) - LONGEST:
                    decided = start  # it may go on
                    break
                self._spans.append((start, stop))
                decided = max(decided, stop)
            self._at[finder] = decided
