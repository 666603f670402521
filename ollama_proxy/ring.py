"""The calls that ended lately, kept in memory: so many, with so much text. Pure.

Not here: those that are stored (`storage/`), those that run (`live.py`).
"""

from __future__ import annotations

import itertools
from collections import OrderedDict

from ollama_proxy.exchange import Call, text_size


class Ring:
    """At most `calls` of them, with `text` characters of prompts and responses together."""

    def __init__(self, calls: int, text: int) -> None:
        self._most, self._most_text = calls, text
        self._calls: OrderedDict[str, Call] = OrderedDict()
        self._text = 0

    def add(self, call: Call) -> None:
        self._calls[call.id] = call
        self._text += text_size(call)
        while len(self._calls) > self._most or self._text > self._most_text:
            self._text -= text_size(self._calls.popitem(last=False)[1])

    def get(self, id: str) -> Call | None:
        return self._calls.get(id)

    def latest(self, limit: int | None = None) -> list[Call]:
        """The one that ended last first."""
        return list(itertools.islice(reversed(self._calls.values()), limit))

    @property
    def oldest(self) -> str | None:
        """The least id."""
        return min(self._calls, default=None)
