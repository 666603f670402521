"""The last of an answer, no more of it than may be listened to: bytes of a stream that were passed
over, and text that was read.

Not here: what the bytes say (`text.py`).
"""

from __future__ import annotations

from collections import deque

from ollama_proxy.observers.budget import Budget

MOST = 64 * 1024
MOST_TEXT = 16_000
"""Characters."""
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
        self._resize(len(block) + BLOCK)
        while len(self._blocks) > 1 and (
            self._size - len(self._blocks[0]) - BLOCK >= MOST
            or self._budget.held > self._budget.limit
        ):
            self._resize(-len(self._blocks.popleft()) - BLOCK)

    def block(self) -> bytes:
        """All of it: less than `MOST` bytes and a block."""
        return b"".join(self._blocks)

    def clear(self) -> None:
        self._blocks.clear()
        self._resize(-self._size)

    def _resize(self, by: int) -> None:
        self._size += by
        self._budget.held += by


class Recent:
    """The end of a text that comes in pieces: its last `MOST_TEXT` characters, or a few more."""

    __slots__ = ("_pieces", "_size")

    def __init__(self, text: str = "") -> None:
        self._pieces = [text]
        self._size = len(text)

    def add(self, text: str) -> None:
        self._pieces.append(text)
        self._size += len(text)
        if self._size > 2 * MOST_TEXT or len(self._pieces) > MOST_TEXT:
            self._pieces = [self.text()]
            self._size = len(self._pieces[0])

    def text(self) -> str:
        return "".join(self._pieces)[-MOST_TEXT:]

    def clear(self) -> None:
        self._pieces, self._size = [], 0
