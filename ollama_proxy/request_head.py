"""A client's request head as bytes: read strictly, once, and the head that goes upstream.

The grammar is RFC 9112's without what it leaves to leniency: whatever two readers could understand
differently is refused (`tests/test_request_head.py` compares with llhttp). What goes upstream are
the client's own lines, less those of its connection: edited by leaving lines out, never re-made.
Not here: sockets, bodies, who may ask (`admission.py`).
"""

from __future__ import annotations

import copy
import re
from functools import cached_property

from ollama_proxy.framing import Length, Scanner, StrictChunked
from ollama_proxy.headers import NEVER_DROPPED, TOKEN, RawHeaders, recorded_path, tokens
from ollama_proxy.names import split_app
from ollama_proxy.target import Target

_HEAD = re.compile(
    rb"([%b]{1,32}) ([^\0- \x7f]+) HTTP/1\.([01])\r\n((?:[%b]+:[^\0-\x08\n-\x1f\x7f]*\r\n)*)\r\n"
    % (TOKEN, TOKEN)
)
_OTHER_VERSION = re.compile(rb"[%b]+ [^\0- \x7f]+ HTTP/\d(?:\.\d)?\r\n" % TOKEN)
_BEGINNING = re.compile(rb"[%b]" % TOKEN)
_BARE_LF = re.compile(rb"(?<!\r)\n")
_LENGTH = re.compile(rb"(\r\ncontent-length:[ \t]*)[0-9]+", re.IGNORECASE)
_DIGITS = re.compile(rb"[0-9]{1,18}")
_ONCE = (b"host", b"content-length", b"transfer-encoding")

MOST_LINES = 1000
_USUAL, _MOST_KEPT = 1024, 64
_SECRET = frozenset({b"authorization", b"cookie", b"x-api-key", b"proxy-authorization"})


class RequestError(ValueError):
    """The head is not one that is sent on; `status` is the answer, the text says why."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


def broken_beginning(data: bytes | bytearray, searched: int) -> str | None:
    """Why what has come of a head can never become one, as early as that can be told."""
    if not _BEGINNING.match(data):
        return "this is not HTTP: is the client told to use https?"
    if _BARE_LF.search(data, max(0, searched - 1)):
        return "a line of the request ends without CR"
    return None


class RequestHead:
    """One request's head: what it says, and `upstream`: the bytes that are sent on.

    It does not change: within `Heads` the same bytes give the same object.
    """

    def __init__(self, raw: bytes, target: Target, cut: frozenset[bytes]) -> None:
        """`raw`: request line to blank line. Raises RequestError."""
        if raw.count(b"\n") > MOST_LINES + 2:
            raise RequestError(431, f"more than {MOST_LINES} header lines")
        found = _HEAD.fullmatch(raw)
        if found is None:
            raise _refused(raw)
        method, asked, minor, lines = found.groups()
        self.raw = raw
        self.method = method.decode()
        self.http_10 = minor == b"0"
        self.app, self.target = split_app(asked)
        self.path = recorded_path(self.target.partition(b"?")[0].decode("utf-8", "surrogateescape"))
        self._values: dict[bytes, bytes] = {}
        self._read(lines)
        connection = tokens(self._values.get(b"connection", b""))
        self.keep_alive = not self.http_10 and b"close" not in connection
        self.length, self.chunked = self._framing()
        dropped = cut | (set(connection) - NEVER_DROPPED)
        self.upstream = self._edited(lines, target, dropped)

    def _read(self, lines: bytes) -> None:
        values = self._values
        for line in lines.split(b"\r\n"):
            name, _, value = line.partition(b":")
            key = name.lower()
            if key not in values:
                values[key] = value.strip(b" \t")
            elif key in _ONCE:
                raise RequestError(400, f"more than one {name.decode()} header")
            elif key == b"connection":
                values[key] += b"," + value

    def _framing(self) -> tuple[int, bool]:
        """The body's length, and whether it comes in chunks instead (RFC 9112 section 6.3)."""
        length, codings = (
            self._values.get(b"content-length"),
            self._values.get(b"transfer-encoding"),
        )
        if codings is not None:
            if length is not None:
                raise RequestError(400, "both Content-Length and Transfer-Encoding")
            if self.http_10 or codings.lower() != b"chunked":
                raise RequestError(501, "a transfer coding other than chunked, or one in HTTP/1.0")
            return 0, True
        if length is None:
            return 0, False
        if not _DIGITS.fullmatch(length):
            raise RequestError(400, "Content-Length is not a number")
        return int(length), False

    def _edited(self, lines: bytes, target: Target, dropped: frozenset[bytes]) -> bytes:
        """The head to send: our Host where theirs may not pass, the upstream's path in front."""
        line = self.raw[: len(self.raw) - len(lines) - 4]
        if self.app is not None or target.path:
            version = b"HTTP/1.0" if self.http_10 else b"HTTP/1.1"
            line = b" ".join((self.method.encode(), target.prefixed(self.target), version))
        if target.pass_host and dropped.isdisjoint(self._values):
            return line + b"\r\n" + lines + b"\r\n"
        kept = [line]
        for one in lines.split(b"\r\n"):
            name = one.partition(b":")[0].lower()
            if name not in dropped:
                kept.append(one if target.pass_host else self._rehosted(name, one, target))
        return b"\r\n".join(kept) + b"\r\n"

    def _rehosted(self, name: bytes, line: bytes, target: Target) -> bytes:
        """`authority` stands for the client's own origin, too: a same-origin page stays one."""
        if name == b"host":
            return line.partition(b":")[0] + b": " + target.authority
        if name == b"origin":
            scheme, separator, host = self._values[b"origin"].partition(b"://")
            if separator and host and host == self._values.get(b"host"):
                return line.partition(b":")[0] + b": " + scheme + separator + target.authority
        return line

    def header(self, name: bytes) -> str:
        """The value of the first such header (in lower case), or an empty text."""
        return self._values.get(name, b"").decode("utf-8", "surrogateescape")

    def has(self, name: bytes) -> bool:
        return name in self._values

    @property
    def is_public(self) -> bool:
        """Whether it holds none of the headers that carry keys, and no query."""
        return _SECRET.isdisjoint(self._values) and b"?" not in self.target

    @cached_property
    def agent(self) -> str:
        return self.header(b"user-agent")

    @property
    def raw_headers(self) -> RawHeaders:
        """All headers in their order, as they came."""
        lines = self.raw.split(b"\r\n")[1:-2]
        parts = (line.partition(b":") for line in lines)
        return [(name, value.strip(b" \t")) for name, _, value in parts]

    def resized(self, length: int) -> RequestHead:
        """The same for a body of another length: only these digits differ."""
        other = copy.copy(self)
        other.length = length
        other.upstream = _LENGTH.sub(rb"\g<1>%d" % length, self.upstream, count=1)
        return other

    def scanner(self) -> Scanner | None:
        """One that finds the body's end, or None where there is no body."""
        if self.chunked:
            return StrictChunked()
        return Length(self.length) if self.length else None


class Heads:
    """Reads heads on their way to one upstream.

    A program that asks again sends the same head again: some are kept, but none with a secret.
    """

    def __init__(self, target: Target, cut: frozenset[bytes]) -> None:
        self._target, self._cut = target, cut
        self._kept: dict[bytes, RequestHead] = {}

    def read(self, raw: bytes) -> RequestHead:
        """Raises RequestError."""
        head = self._kept.get(raw)
        if head is None:
            head = RequestHead(raw, self._target, self._cut)
            if len(raw) <= _USUAL and head.is_public:
                if len(self._kept) == _MOST_KEPT:
                    self._kept.clear()
                self._kept[raw] = head
        return head


def _refused(raw: bytes) -> RequestError:
    if _OTHER_VERSION.match(raw) and not raw.split(b"\r\n", 1)[0].endswith((b"/1.0", b"/1.1")):
        return RequestError(505, "only HTTP/1.0 and HTTP/1.1 are served")
    return RequestError(400, "this is not a request that HTTP/1.1 allows")
