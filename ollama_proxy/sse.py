"""Server-sent events read from pieces of a stream: bytes in, events out (WHATWG HTML, 9.2).

Not here: the stream, what an event means, lines that end with a lone CR.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec


class Sent(msgspec.Struct, frozen=True):
    """An event: its `kind`, its data, and the id that a reader names when it comes again."""

    kind: str
    data: bytes
    id: str | None


class Stream:
    """One stream. An event of more than `most` bytes is a ValueError."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._line = bytearray()
        self._held = 0
        self._kind = ""
        self._data = bytearray()
        self._id: str | None = None

    def feed(self, piece: bytes) -> Iterator[Sent]:
        """The events that this piece ends."""
        self._held += len(piece)
        *ended, rest = piece.split(b"\n")
        for end in ended:
            line = bytes(self._line + end).removesuffix(b"\r")
            self._line.clear()
            if line:
                self._field(line)
            elif self._data:
                yield Sent(self._kind or "message", bytes(self._data[:-1]), self._id)
            if not line:
                self._kind, self._held = "", 0
                self._data.clear()
        self._line += rest
        if self._held > self._most:
            raise ValueError("an event has no end")

    def _field(self, line: bytes) -> None:
        name, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        match name:
            case b"data":
                self._data += value + b"\n"
            case b"event":
                self._kind = value.decode("utf-8", "replace")
            case b"id" if b"\0" not in value:
                self._id = value.decode("utf-8", "replace")
