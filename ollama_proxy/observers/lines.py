"""Bodies of many small documents: cutting them apart, and reading only those that matter.

A line is one document and what ends it: a newline, or `separator` where that is something else.
Parsing every line of a fast stream would cost the machine that runs the model. So each line is
read while `_wants_lines`; later only those with one of `marks` near their beginning, and the last.
Not here: what the lines mean.
"""

from __future__ import annotations

import re
from collections import deque

from ollama_proxy.exchange import Observation
from ollama_proxy.observers.base import Observer
from ollama_proxy.observers.budget import CALLS, FREE, Budget, Holding
from ollama_proxy.observers.inflate import Refused
from ollama_proxy.observers.privacy import Privacy
from ollama_proxy.observers.reading import LONG_DOCUMENT

LINE_LIMIT = 8 * 1024 * 1024
LONG = 512
"""Bytes of a line in which marks count: to search all of a long one costs as much as to relay it.
What tells of an end or an error stands at a line's beginning, or in the last ones."""
QUICK = 2 * FREE
"""Bytes of a block that may be read at once: one line as long as is held uncounted, and a piece."""
STRANGE = 100
"""Lines in a row, of those that are read, of which none is understood: then this is no such answer,
and nothing more of it is looked at."""
_TOO_LONG = b"data: ?"  # no JSON, with or without the field's name of a server-sent event
_BLANK_LINES = re.compile(rb"\s*\n")


class Lines:
    """Joins pieces into complete lines. One that is too long is replaced by what is no JSON.

    Too long is a line of more than `LINE_LIMIT` bytes, or for which the budget has no room.
    """

    __slots__ = ("_held", "_holding", "_overlap", "_overlong", "_separator", "skipped")

    def __init__(self, separator: bytes = b"\n", budget: Budget = CALLS) -> None:
        self._separator = separator
        self._overlap = len(separator) - 1
        self._held = bytearray()
        self._holding = Holding(budget)
        self._overlong = False
        self.skipped = 0

    def feed(self, data: bytes) -> bytes:
        """The lines that `data` completes, each with its separator; b"" if none."""
        if self._held or self._overlong:
            return self._continued(data)
        end = data.rfind(self._separator)
        size = end + len(self._separator) if end >= 0 else 0
        self._held += data[size:]
        return data[:size]

    def rest(self) -> bytes:
        """The last line, if nothing separates it from the end."""
        overlong = self._overlong or not self._fits(len(self._held))
        self.skipped += overlong
        return _TOO_LONG if overlong else bytes(self._held)

    def forget(self) -> None:
        """Hold nothing any longer: no more bytes will come."""
        self._held.clear()
        self._holding.resize(0)

    def _fits(self, size: int) -> bool:
        """Whether a line of so many bytes, seen so far, can be held."""
        return size <= LINE_LIMIT and self._holding.resize(size)

    def _continued(self, data: bytes) -> bytes:
        searched = max(0, len(self._held) - self._overlap)
        self._held += data
        first = self._held.find(self._separator, searched)
        if first < 0:
            self._bound()
            return b""
        size = self._held.rfind(self._separator) + len(self._separator)
        with memoryview(self._held) as held:
            block = bytes(held[:size])
        del self._held[:size]
        if self._overlong or (first > FREE and not self._fits(first)):
            self.skipped += 1
            self._overlong = False
            block = _TOO_LONG + block[first:]
        if first > FREE:
            self._holding.resize(0)
        return block

    def _bound(self) -> None:
        """Forget a line that is too long, but for what may be the beginning of its separator."""
        size = len(self._held) - self._overlap
        if self._overlong or not self._fits(size):
            self._overlong = True
            self._holding.resize(0)
            del self._held[:size]


def after_blank(block: bytes, at: int) -> int:
    """Where the next line begins that is not blank, however many are."""
    blank = _BLANK_LINES.match(block, at)
    return at if blank is None else blank.end()


class LineObserver(Observer):
    """Reads an answer line by line. `pieces` counts the lines that carry something.

    That is: lines that `_line` accepts where they are read, and that `_count` counts where they are
    not. A broken line is refused where it is read, and counted where it is not.
    """

    reads_all = True
    separator = b"\n"
    marks: tuple[bytes, ...] = ()
    tail = 1
    """How many of the last lines are read in any case, unless one before the last is long."""
    budget = CALLS

    def __init__(self, observation: Observation, privacy: Privacy) -> None:
        super().__init__(observation, privacy)
        self.pieces = 0
        self.read_lines = 0
        self.lines = Lines(self.separator, self.budget)
        self._unread: list[bytes] = []
        self._holding = Holding(self.budget)  # of the last unread line
        self._strange = 0  # lines in a row, up to this one of those read, that nobody understood
        self._strange_line = 0

    def _line(self, line: bytes) -> bool:
        """Hook: read a line that is not blank. Whether it is one of the `pieces`."""
        raise NotImplementedError

    def _is_blank(self, line: bytes) -> bool:
        """Hook: whether there is nothing to read in it."""
        return not line or line.isspace()

    def _wants_lines(self) -> bool:
        """Hook: whether each line is to be read, or only marked ones."""
        return False

    def _count(self, block: bytes) -> int:
        """Hook: how many of a block's lines are `pieces`, told without reading them."""
        lines = block.split(b"\n")
        return len(lines) - lines.count(b"") - sum(map(bytes.isspace, lines))

    def _read_at_once(self, block: bytes) -> bool:
        """Hook: read all lines of a block of which each is wanted, if there is a quick way."""
        return False

    def _answer(self, data: bytes) -> None:
        block = self.lines.feed(data)
        at, size = 0, len(self.separator)
        if block[:1] <= b" ":
            at = after_blank(block, 0)
            if at == len(block):
                return
        # Where the quick way fails a block is parsed twice: not one with a line of megabytes.
        if self._wants_lines() and len(block) <= QUICK:
            # The last line by itself: it may be the one that tells the counts.
            last = block.rfind(self.separator, at, -size)
            if last > at and self._read_at_once(block[at : last + size]):
                self._strange = 0
                at = last + size
        while at < len(block) and self._wants_lines():
            end = block.find(self.separator, at)
            if end < 0:
                return
            self._read(block[at:end])
            at = end + size
            if block[at : at + 1] <= b" ":
                at = after_blank(block, at)
        if at < len(block):
            self._skim(block[at:])

    def _read(self, line: bytes) -> None:
        if not self._is_blank(line):
            self.read_lines += 1
            self.pieces += self._line(line)

    def _not_understood(self, document: bytes) -> None:
        """Count what was read in vain. Of a long one it is open whether it was only too much."""
        self.observation.not_understood += 1
        self.lines.skipped += len(document) > LONG_DOCUMENT
        self._strange = self._strange + 1 if self.read_lines == self._strange_line + 1 else 1
        self._strange_line = self.read_lines
        if self._strange == STRANGE:
            raise Refused(f"{STRANGE} lines in a row that are not understood")

    def _skim(self, block: bytes) -> None:
        """Count a block's lines, and read those with a mark in their first `LONG` bytes."""
        if block.find(self.separator) >= LONG or self._is_marked(block):
            self._skim_each(block)
        else:
            self.pieces += self._count(block)
            self._keep_last(self._last_lines(block))

    def _skim_each(self, block: bytes) -> None:
        """The same line by line: however long they are, only their beginnings are looked at."""
        at, size = 0, len(self.separator)
        passed: deque[tuple[int, int]] = deque(maxlen=self.tail)
        while at < len(block):
            end = block.find(self.separator, at)
            end = len(block) if end < 0 else end
            head = block[at : min(end, at + LONG)]
            if self._is_marked(head):
                self._read(block[at:end])
            elif not self._is_blank(head) or not self._is_blank(block[at:end]):
                self.pieces += self._count(head)
                passed.append((at, end))
            at = end + size
            if block[at : at + 1] <= b" ":
                at = after_blank(block, at)
        self._keep_last([block[start:end] for start, end in passed])

    def _is_marked(self, data: bytes) -> bool:
        return any(map(data.__contains__, self.marks))

    def _keep_last(self, lines: list[bytes]) -> None:
        """Those at the end of the body are read after all; see `tail`."""
        if lines:
            unread = (self._unread + lines)[-self.tail :]
            self._unread = [line if len(line) < LONG else b"" for line in unread[:-1]] + unread[-1:]
            if self._holding.size or len(unread[-1]) > FREE:
                self._holding.resize(len(unread[-1]))  # there was room for it until now

    def _last_lines(self, block: bytes) -> list[bytes]:
        """The last `tail` lines of a block that are not blank, in their order."""
        found: list[bytes] = []
        end = len(block)
        while end > 0 and len(found) < self.tail:
            start = block.rfind(self.separator, 0, end)
            line = block[start + len(self.separator) if start >= 0 else 0 : end]
            if not self._is_blank(line):
                found.insert(0, line)
            elif end < len(block):  # not only what follows the last separator: maybe one of many
                lines = filter(bytes.strip, block.split(self.separator))
                return [line for line in lines if not self._is_blank(line)][-self.tail :]
            end = start
        return found

    def _end(self, complete: bool, deaf: bool) -> None:
        """Reads the last lines, as far as they were only counted so far."""
        if deaf:
            return
        self._strange = 0  # What is left are few lines: they are read, whatever they are.
        for line in self._unread:
            self.pieces -= self._count(line[:LONG])
            self._read(line)
        self._read(self.lines.rest())

    def _forget(self) -> None:
        self.lines.forget()
        self._unread = []
        self._holding.resize(0)
