"""Where an HTTP/1.1 body ends: the three framings of RFC 9112 section 6, as byte scanners.

A scanner is fed the bytes as they come and only says where the message ends; the bytes themselves
are passed on untouched by whoever feeds it. Not here: heads, sockets, content encodings.
"""

from __future__ import annotations

import re
from typing import Protocol

SIZE_LINE_LIMIT = 4096
"""Bytes of one chunk-size or trailer line; what is longer is an attack, not an answer."""


_SIZE_LINE = re.compile(rb"([0-9a-fA-F]{1,16})\r\n")


_UNCLEAR = re.compile(rb"[\0-\x08\n-\x1f\x7f]")


class FramingError(ValueError):
    """The sender broke the framing; where its message ends can no longer be known."""


class Scanner(Protocol):
    """Feeds on body bytes. `ends_with_connection`: the sender's close is a clean end."""

    ends_with_connection: bool

    def feed(self, data: bytes, payload: list[bytes] | None = None) -> int:
        """The offset in `data` just behind the message's last byte, or -1 while it goes on.

        With `payload`, the body's own bytes, framing removed, are appended to it.
        """


class Length:
    """A body of a known number of bytes."""

    __slots__ = ("_left",)
    ends_with_connection = False

    def __init__(self, length: int) -> None:
        self._left = length

    def feed(self, data: bytes, payload: list[bytes] | None = None) -> int:
        size = len(data)
        end = self._left if size >= self._left else -1
        if payload is not None:
            payload.append(data if end < 0 else data[:end])
        self._left -= min(size, self._left)
        return end


class UntilClose:
    """A body that ends when its sender closes the connection."""

    __slots__ = ()
    ends_with_connection = True

    def feed(self, data: bytes, payload: list[bytes] | None = None) -> int:
        if payload is not None:
            payload.append(data)
        return -1


class Chunked:
    """Chunked transfer coding, RFC 9112 section 7.1: extensions and trailers are allowed."""

    __slots__ = ("_line", "_skip", "_trailer")
    ends_with_connection = False

    def __init__(self) -> None:
        self._line = b""
        # Bytes of the current chunk still to come, its closing CRLF included.
        self._skip = 0
        self._trailer = False

    def feed(self, data: bytes, payload: list[bytes] | None = None) -> int:
        if not (self._skip or self._line or self._trailer):
            # What comes is nearly always one chunk, whole: this way takes a third of the time.
            line = _SIZE_LINE.match(data)
            if line is not None:
                start, size = line.end(), int(line[1], 16)
                if size and start + size + 2 == len(data) and data.endswith(b"\r\n"):
                    if payload is not None:
                        payload.append(data[start:-2])
                    return -1
        return self._feed(data, payload)

    def _feed(self, data: bytes, payload: list[bytes] | None) -> int:
        position, size = 0, len(data)
        while position < size:
            if self._skip:
                position = self._pass(data, position, payload)
                continue
            newline = data.find(b"\n", position)
            if newline < 0:
                self._keep(data[position:])
                return -1
            line = data[position:newline] if not self._line else self._line + data[position:newline]
            self._line = b""
            if len(line) > SIZE_LINE_LIMIT:
                raise FramingError("a chunk-size or trailer line is too long")
            position = newline + 1
            if self._ends(line):
                return position
        return -1

    def _pass(self, data: bytes, position: int, payload: list[bytes] | None) -> int:
        """Step over chunk data and its CRLF; returns the offset of what follows."""
        skip = self._skip
        end = min(position + skip, len(data))
        if payload is not None and skip > 2:
            payload.append(data[position : min(position + skip - 2, end)])
        left = skip - (end - position)
        # The last two bytes are CRLF; checked as they come, whatever the cut.
        if left == 0 and data[end - 1] != 0x0A:
            raise FramingError("a chunk does not end with CRLF")
        if left <= 1 < skip and data[end - 2 + left] != 0x0D:
            raise FramingError("a chunk does not end with CRLF")
        self._skip = left
        return end

    def _keep(self, part: bytes) -> None:
        self._line += part
        if len(self._line) > SIZE_LINE_LIMIT:
            raise FramingError("a chunk-size or trailer line is too long")

    def _ends(self, line: bytes) -> bool:
        """Take one whole line without its LF; True if it was the message's last."""
        if self._trailer:
            if not line:
                raise FramingError("the line behind the last chunk does not end with CRLF")
            return line == b"\r"
        if not line.endswith(b"\r"):
            raise FramingError("a chunk-size line does not end with CRLF")
        size = chunk_size(line[:-1])
        if size:
            self._skip = size + 2
        else:
            self._trailer = True
        return False


class StrictChunked(Chunked):
    """The same for requests: no bare LF, and nothing in a line that a reader could stumble over."""

    __slots__ = ()

    def _ends(self, line: bytes) -> bool:
        if not line.endswith(b"\r") or _UNCLEAR.search(line, 0, len(line) - 1):
            raise FramingError("a chunk-size or trailer line holds what it may not")
        return super()._ends(line)


def chunk_size(line: bytes) -> int:
    """The number before a chunk's data. Hex digits only: int() would take '+1', '0x1' and '1_0'."""
    digits = line.partition(b";")[0].rstrip(b" \t")
    if not digits or len(digits) > 16 or digits.strip(b"0123456789abcdefABCDEF"):
        raise FramingError("a chunk size is not a number")
    return int(digits, 16)
