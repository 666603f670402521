"""From a body's bytes as sent to its bytes as meant, in small pieces: identity, gzip, deflate.

Not here: transfer framing (removed before), zstd and br (nobody looks into those). A body that
inflates beyond all measure raises `Refused`; the bytes that pass to the client are not touched.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator

PIECE = 64 * 1024
INFLATED_LIMIT = 64 * 1024 * 1024
RATIO_LIMIT = 200
AT_ONCE = 2 * 1024 * 1024
"""Bytes that one piece of a body may inflate to: the loop stands still while they are looked at."""
_RATIO_FROM = 1024 * 1024
_GZIP_BITS = 31
_GZIP_FIRST = b"\x1f"


class Refused(Exception):
    """These bytes are not looked into any further."""


class Plain:
    """A body as it is, in pieces of bounded size."""

    def pieces(self, data: bytes) -> Iterator[bytes]:
        if len(data) <= PIECE:
            yield data
            return
        for start in range(0, len(data), PIECE):
            yield data[start : start + PIECE]


class Inflate:
    """A gzip or deflate body. Deflate is meant to be zlib's, but some send it raw: both work."""

    def __init__(self, gzip: bool) -> None:
        self._gzip = gzip
        self._stream: zlib._Decompress | None = None
        self._over = False
        self._taken = 0
        self._given = 0

    def pieces(self, data: bytes) -> Iterator[bytes]:
        """Raises `Refused`, and zlib.error for what is not a compressed body."""
        more = bool(data)
        before = self._given
        while more and not self._is_over(data):
            stream = self._stream = self._stream or self._open(data)
            piece = stream.decompress(data, PIECE)
            rest = stream.unused_data or stream.unconsumed_tail
            self._account(len(data) - len(rest), len(piece))
            if self._given - before > AT_ONCE:
                raise Refused(f"one piece inflates to more than {AT_ONCE} bytes")
            yield piece
            if stream.eof:
                self._stream = None
            data = rest
            more = bool(data) or (len(piece) == PIECE and not stream.eof)

    def _is_over(self, data: bytes) -> bool:
        """RFC 1952 §2.2: gzip may be several members in a row. What else follows is ignored."""
        if self._stream is None and self._taken:
            self._over = self._over or not self._gzip or data[:1] != _GZIP_FIRST
        return self._over

    def _open(self, data: bytes) -> zlib._Decompress:
        if self._gzip:
            return zlib.decompressobj(_GZIP_BITS)
        # RFC 1950 §2.2: a zlib header's low four bits are 8; raw deflate starts otherwise.
        return zlib.decompressobj(zlib.MAX_WBITS if data[0] & 15 == 8 else -zlib.MAX_WBITS)

    def _account(self, taken: int, given: int) -> None:
        self._taken += taken
        self._given += given
        steep = self._given > _RATIO_FROM and self._given > RATIO_LIMIT * self._taken
        if steep or self._given > INFLATED_LIMIT:
            raise Refused(f"{self._taken} bytes inflate to more than {self._given}")


def opener(content_encoding: str) -> Plain | Inflate:
    """What reads a body of this Content-Encoding; raises `Refused` for one that is not read."""
    coding = content_encoding.strip().lower()
    if coding in ("", "identity"):
        return Plain()
    if coding in ("gzip", "x-gzip"):
        return Inflate(gzip=True)
    if coding == "deflate":
        return Inflate(gzip=False)
    raise Refused(f"Content-Encoding {coding[:40]!r}")
