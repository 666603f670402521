"""The last of an answer, no more of it than may be listened to: bytes of a stream that were passed
over, and text that was read.

Not here: what the bytes say (`text.py`).
"""

from __future__ import annotations

from collections import deque

from ollama_proxy.observers.budget import Budget

MOST = 64 * 1024
MOST_TEXT, JOINED = 8000, 64
"""Characters of a text that is kept, and pieces that are joined to it at once: some 2 us."""
BLOCK = 41
"""Bytes that Python takes for a block, beside its own."""
ALL = Budget(16 * 1024 * 1024)
"""That of all streams together; beyond it each keeps its last block only."""


class Passed:
    """Whole lines, in blocks as they came; those are kept as they are, not copied."""

    __slots__ = ("_blocks", "_budget", "_separator", "_size")

    def __init__(self, separator: bytes, budget: Budget = ALL) -> None:
        self._separator = separator
        self._budget = budget
        self._blocks: deque[bytes] = deque()
        self._size = 0

    def __bool__(self) -> bool:
        return bool(self._blocks)

    def add(self, block: bytes) -> None:
        """A block is kept while those after it have less than `MOST` bytes, and there is room.

        Of a longer one only whole lines at its end are.
        """
        if len(block) > MOST:
            self.clear()
            first = block.find(self._separator, len(block) - MOST)
            block = b"" if first < 0 else block[first + len(self._separator) :]
        self._blocks.append(block)
        self._resize(len(block), 1)
        while len(self._blocks) > 1 and (
            self._size - len(self._blocks[0]) >= MOST or self._budget.held > self._budget.limit
        ):
            self._resize(-len(self._blocks.popleft()), -1)

    def block(self) -> bytes:
        """All of it: less than `MOST` bytes and a block."""
        return b"".join(self._blocks)

    def clear(self) -> None:
        self._resize(-self._size, -len(self._blocks))
        self._blocks.clear()

    def _resize(self, size: int, blocks: int) -> None:
        self._size += size
        self._budget.held += size + blocks * BLOCK


class Recent:
    """The end of a text that comes in pieces: its last `MOST_TEXT` characters, and a few pieces."""

    __slots__ = ("_new", "_text")

    def __init__(self, text: str = "") -> None:
        self._text, self._new = text, [""]

    def add(self, text: str) -> None:
        self._new.append(text)
        if len(self._new) > JOINED:
            self._text, self._new = self.text(), [""]

    def text(self) -> str:
        return (self._text + "".join(self._new))[-MOST_TEXT:]

    def clear(self) -> None:
        self._text, self._new = "", [""]
