"""Bodies of one JSON document a line: splitting them, and reading only the lines that matter.

Parsing every line of a fast stream would cost the machine that runs the model. So each line is
read while `_wants_lines`; later only short ones with one of `marks` in them, and the very last.
Not here: what the lines mean.
"""

from __future__ import annotations

from collections.abc import Iterator

from ollama_proxy.exchange import Observation
from ollama_proxy.observers.base import Observer
from ollama_proxy.observers.privacy import Privacy

LINE_LIMIT = 8 * 1024 * 1024
LONG = 512
"""Bytes from which on a line is not searched for marks: to search it costs as much as to relay it.
What says `done` or `error` in so long a line is the last one, and the last line is always read."""
_TOO_LONG = b"?"


class Lines:
    """Joins pieces into complete lines. One that is too long is replaced by a line `?`."""

    __slots__ = ("_held", "_overlong", "skipped")

    def __init__(self) -> None:
        self._held = bytearray()
        self._overlong = False
        self.skipped = 0

    def feed(self, data: bytes) -> bytes:
        """The lines that `data` completes, each with its newline; b"" if none."""
        first = data.find(b"\n")
        if first < 0:
            self._hold(data)
            return b""
        if not self._held and not self._overlong:
            head = b""
        else:
            self._hold(data[:first])
            head, data = self._take(), data[first:]
        last = data.rfind(b"\n") + 1
        self._hold(data[last:])
        return head + data[:last]

    def rest(self) -> bytes:
        """The last line, if it has no newline."""
        return self._take()

    def _hold(self, data: bytes) -> None:
        if len(self._held) + len(data) > LINE_LIMIT:
            self._overlong = True
            self._held = bytearray()
        if not self._overlong:
            self._held += data

    def _take(self) -> bytes:
        line = _TOO_LONG if self._overlong else bytes(self._held)
        self.skipped += self._overlong
        self._overlong = False
        self._held = bytearray()
        return line


class LineObserver(Observer):
    """Reads an answer line by line. `pieces` counts the lines that carry something.

    That is: lines that are not blank, and that `_line` does not refuse where they are read. A
    broken line is refused where it is read, and counted where it is not.
    """

    reads_all = True
    marks: tuple[bytes, ...] = ()

    def __init__(self, observation: Observation, privacy: Privacy) -> None:
        super().__init__(observation, privacy)
        self.pieces = 0
        self.read_lines = 0
        self.lines = Lines()
        self._unread = b""

    def _line(self, line: bytes) -> bool:
        """Hook: read a line that is not blank. Whether it is one of the `pieces`."""
        raise NotImplementedError

    def _wants_lines(self) -> bool:
        """Hook: whether each line is to be read, or only marked ones."""
        return False

    def _answer(self, data: bytes) -> None:
        block = self.lines.feed(data)
        at = 0
        while at < len(block):
            end = block.index(b"\n", at)
            if self._wants_lines():
                self._read(block[at:end])
            elif end - at >= LONG:
                self._pass_over([block[at:end]])
            else:
                self._skim(block[at:] if at else block)
                return
            at = end + 1

    def _read(self, line: bytes) -> None:
        if line and not line.isspace():
            self._unread = b""
            self.read_lines += 1
            self.pieces += self._line(line)

    def _skim(self, block: bytes) -> None:
        """Count a block's lines, and read those with a mark in them."""
        at = 0
        for end in self._marked(block):
            start = block.rfind(b"\n", at, end) + 1 or at
            self._pass_over(block[at:start].split(b"\n"))
            at = block.index(b"\n", end) + 1
            self._read(block[start : at - 1])
        self._pass_over(block[at:].split(b"\n") if at else block.split(b"\n"))

    def _marked(self, block: bytes) -> Iterator[int]:
        """Where a line with a mark is, once for each such line, in their order."""
        places = [block.find(mark) for mark in self.marks]
        while found := [place for place in places if place >= 0]:
            first = min(found)
            yield first
            at = block.index(b"\n", first) + 1
            places = [
                block.find(mark, at) if 0 <= place < at else place
                for mark, place in zip(self.marks, places, strict=True)
            ]

    def _pass_over(self, lines: list[bytes]) -> None:
        """Count lines; the last of them that is not blank may have to be read after all."""
        blank = lines.count(b"") + sum(map(bytes.isspace, lines))
        if blank == len(lines):
            return
        self.pieces += len(lines) - blank
        self._unread = next(line for line in reversed(lines) if line and not line.isspace())

    def _end(self, complete: bool, deaf: bool) -> None:
        """Reads what has no newline, else the last line if it was only counted so far."""
        if deaf:
            return
        rest = self.lines.rest()
        if rest and not rest.isspace():
            self._read(rest)
        elif self._unread:
            self.pieces -= 1
            self._read(self._unread)
