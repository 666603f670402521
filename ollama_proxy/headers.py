"""HTTP/1.1 heads as bytes: what is passed on, what is not, and who may ask.

Functions on bytes and header lists: hop-by-hop rules (RFC 9110 section 7.6.1), the Host table that
Ollama applies. Heads are edited by cutting spans out, never re-made, so that order,
case and duplicates stay as they were. Not here: sockets, bodies.
"""

from __future__ import annotations

import ipaddress
import re
import socket
from collections.abc import Sequence
from functools import lru_cache
from http import HTTPStatus

from ollama_proxy.framing import Chunked, Length, Scanner, UntilClose

RawHeaders = Sequence[tuple[bytes, bytes]]

ERROR_HEADER = b"X-Ollama-Proxy-Error"
"""Marks an answer as this proxy's own; its value is the reason. Ollama never sends it."""

CHALLENGE = 'Bearer realm="ollama_proxy"'
"""The WWW-Authenticate of the admin: by it a program knows who asks, before it says the token."""

SCANNED_TO = "X-Ollama-Proxy-Scanned-To"
"""In an answer of which not all was looked through: the id to go on `before`. Of a sorted list:
the calls from there on are sorted, those before it another list."""

INCOMPLETE = "X-Ollama-Proxy-Incomplete"
"""In an answer of what memory knew alone: why."""

HOP_BY_HOP = frozenset(
    {b"connection", b"keep-alive", b"proxy-connection", b"te", b"transfer-encoding", b"upgrade"}
)
# Named in Connection these would be dropped by the letter of the RFC; a client could so remove
# what decides who may ask, or where the body ends (the Go issue 50580 and CVE-2022-31813 family).
NEVER_DROPPED = frozenset({b"host", b"content-length", b"authorization", b"transfer-encoding"})


TOKEN = rb"!#$%&'*+\-.^_`|~0-9A-Za-z"
"""What a header's name may be made of (RFC 9110 section 5.6.2), as a set in a pattern."""

_HEAD = re.compile(
    rb"HTTP/1\.([01]) ([1-9]\d\d)(?: [^\r\n]*)?\r\n(?:[%b]+:[^\r\n\0]*\r\n)*\r\n" % TOKEN
)
_LINE = re.compile(rb"\r\n([^:\r]+):[^\r]*")
CUT = HOP_BY_HOP - NEVER_DROPPED
_SECONDS = re.compile(r"[0-9]{1,7}(\.[0-9]{1,6})?", re.ASCII)
DEADLINE = b"x-deadline-seconds"
"""A request's header that tells this proxy by when its client needs the answer; not forwarded."""
_NOTED = re.compile(
    rb"\r\n(%b):[ \t]*([^\r]*)"
    % b"|".join({*HOP_BY_HOP, b"content-length", b"content-type", b"content-encoding"}),
    re.IGNORECASE,
)


class HeadError(ValueError):
    """The head cannot be understood, or would mean two things to two readers."""


class ResponseHead:
    """An upstream's response head: what it says, and the bytes that go to the client.

    It is checked as a whole once; then only the few lines that mean something here are read.
    It does not change: `response_head` gives the same one for the same bytes.
    """

    __slots__ = ("_cut", "_keep_alive_line", "_noted", "body", "raw", "reusable", "status")

    def __init__(self, raw: bytes, to_head: bool) -> None:
        """`raw`: status line to blank line; `to_head`: it answers HEAD. Raises HeadError."""
        found = _HEAD.fullmatch(raw)
        if found is None:
            raise HeadError("not a response head of HTTP/1.1")
        minor, status = found.groups()
        self.raw = raw
        self.status = int(status)
        self._noted: dict[bytes, bytes] = {}
        self._cut: list[tuple[int, int]] = []
        self._keep_alive_line = False
        connection = self._read_lines()
        self.body = self._framing(to_head)
        self.reusable = (
            minor == b"1" and b"close" not in connection and not self.ends_with_connection
        )

    @property
    def ends_with_connection(self) -> bool:
        """Whether the connection's end is the only sign of the body's."""
        return self.body is UntilClose

    def scanner(self) -> Scanner | None:
        """One that finds the body's end, or None where there is no body."""
        if self.body is None or isinstance(self.body, int):
            return Length(self.body) if self.body else None
        return self.body()

    def _read_lines(self) -> set[bytes]:
        """Note the lines that mean something here, and cut those that end here.

        Returns what Connection names.
        """
        noted, connection = self._noted, set()
        for line in _NOTED.finditer(self.raw):
            name, value = line[1].lower(), line[2].rstrip(b" \t")
            if name in CUT:
                self._cut.append(line.span())
                if name == b"connection":
                    connection.update(tokens(value))
            elif name not in noted:
                noted[name] = value
            elif name == b"transfer-encoding" or value != noted[name]:
                noted[name] += b"," + value
        if connection:
            self._cut_named(connection)
        return connection

    def _cut_named(self, connection: set[bytes]) -> None:
        """Cut the lines that Connection names, too."""
        if named := connection - CUT - NEVER_DROPPED:
            lines = _LINE.finditer(self.raw)
            self._cut += [line.span() for line in lines if line[1].lower() in named]
            self._cut.sort()
        self._keep_alive_line = len(self._cut) == 1 and connection == {b"keep-alive"}

    def _framing(self, to_head: bool) -> int | type[Chunked] | type[UntilClose] | None:
        """How the body ends: after so many bytes, or as said (RFC 9112 section 6.3)."""
        if to_head or self.status < 200 or self.status in (204, 304):
            return None
        length, codings = self._noted.get(b"content-length"), self._noted.get(b"transfer-encoding")
        if codings is not None:
            if length is not None:
                raise HeadError("both Content-Length and Transfer-Encoding")
            last = codings.lower().rpartition(b",")[2].strip()
            return Chunked if last == b"chunked" else UntilClose
        if length is None:
            return UntilClose
        if not length.isdigit() or len(length) > 18:
            raise HeadError("Content-Length is not a number")
        return int(length)

    def header(self, name: bytes) -> str:
        """The value of one of the headers that are read here, or an empty text.

        Of several lines the values are joined, as RFC 9110 section 5.3 has it.
        """
        return self._noted.get(name, b"").decode("latin-1")

    def for_client(self, keep_alive: bool) -> bytes:
        """The head as the client gets it: hop-by-hop lines cut, the rest untouched."""
        if keep_alive and (not self._cut or self._keep_alive_line):
            # "Connection: keep-alive" is as true of our connection as of theirs.
            return self.raw
        kept, position = [], 0
        for start, end in self._cut:
            kept.append(self.raw[position:start])
            position = end
        kept.append(self.raw[position:-4])
        if not keep_alive:
            kept.append(b"\r\nConnection: close")
        kept.append(b"\r\n\r\n")
        return b"".join(kept)


def response_head(raw: bytes, method: str) -> ResponseHead:
    """The head of an answer to `method`. Raises HeadError.

    Within a second an upstream's answers to one question have the same head: the last few are kept.
    """
    read = ResponseHead if len(raw) > _USUAL_HEAD else _kept_head
    return read(raw, method == "HEAD")


_USUAL_HEAD = 1024
_kept_head = lru_cache(maxsize=64)(ResponseHead)


def may_become_head(data: bytes) -> bool:
    """Whether these first bytes can still become a response head; False as early as can be told."""
    start = b"HTTP/1."
    return data[: len(start)] == start[: len(data)] and b"\n\n" not in data


def tokens(value: bytes) -> list[bytes]:
    """The members of a header's list, in lower case (RFC 9110 section 5.6.1)."""
    return [token.strip(b" \t").lower() for token in value.split(b",") if token.strip(b" \t")]


def host_allowed(host: str) -> bool:
    """Whether Ollama, listening on loopback, would answer a request with this Host header.

    Its table against DNS rebinding (CVE-2024-28224; server/routes.go, allowedHostsMiddleware):
    loopback, private, unspecified and own addresses, localhost, the machine's own name, and names
    below .localhost, .local and .internal. An empty Host passes, as there.
    """
    name = _without_port(host).lower()
    try:
        address = ipaddress.ip_address(name)
    except ValueError:
        return name in ("", "localhost", socket.gethostname().lower()) or name.endswith(
            (".localhost", ".local", ".internal")
        )
    return address.is_loopback or address.is_unspecified or _go_private(address) or _is_own(name)


_GO_PRIVATE = tuple(
    ipaddress.ip_network(text)
    for text in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7")
)


def _go_private(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    """Go's netip.Addr.IsPrivate: RFC 1918 and RFC 4193; Python's is_private means much more."""
    return any(address in network for network in _GO_PRIVATE if network.version == address.version)


def _is_own(address: str) -> bool:
    """Whether the address is one of this machine's: only then can a socket be bound to it."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind((address, 0))
        except OSError:
            return False
    return True


def _without_port(host: str) -> str:
    if host.startswith("["):
        return host[1:].partition("]")[0]
    if host.count(":") == 1:
        return host.partition(":")[0]
    return host


def own_answer(
    status: int,
    reason: str | None,
    body: bytes,
    *,
    keep_alive: bool,
    head_only: bool,
    date: str,
    again: bool = True,
) -> bytes:
    """An answer of the proxy's own, in the form Ollama's have; `reason` marks it as ours.

    `again` False: the call is not to be sent again.
    """
    lines = [f"HTTP/1.1 {status} {HTTPStatus(status).phrase}".encode()]
    if body:
        lines.append(b"Content-Type: application/json; charset=utf-8")
    if reason is not None:
        lines.append(ERROR_HEADER + b": " + reason.encode())
    if not again:
        # OpenAI's and Anthropic's clients send a call twice more after a 5xx, unless told this.
        lines.append(b"X-Should-Retry: false")
    lines += (b"Date: " + date.encode(), b"Content-Length: " + str(len(body)).encode())
    if not keep_alive:
        lines.append(b"Connection: close")
    return b"\r\n".join(lines) + b"\r\n\r\n" + (b"" if head_only else body)


_AGENT_LIMIT = 256
_PLAIN_PATH = re.compile(r"/[\w/.:-]{0,2047}", re.ASCII)


def recorded_path(path: str) -> str:
    """A path, without its query, as it may be stored and shown: no control characters, bounded.

    An absolute target loses its scheme and authority, and every path what may be parameters by
    another spelling: all of these may hold a password or a key.
    """
    if _PLAIN_PATH.fullmatch(path):
        return path
    if "://" in path and not path.startswith("/"):
        path = "/" + path.partition("://")[2].partition("/")[2]
    path = re.split(r"[?#;]|%3[fb]|%23", path, maxsplit=1, flags=re.IGNORECASE)[0]
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in path[:2048])


def client_name(user_agent: str, address: str) -> str:
    """Who called, as far as headers tell: the user agent's first product, and a remote address.

    Control characters are taken out; at most 120 characters.
    """
    return _client_name(user_agent[:_AGENT_LIMIT], address)


def deadline(text: str) -> float | None:
    """The seconds of a `DEADLINE`; None for what is no positive number."""
    return float(text) if _SECONDS.fullmatch(text.strip()) and float(text) > 0 else None


@lru_cache(maxsize=256)
def _client_name(user_agent: str, address: str) -> str:
    product = user_agent.partition(" ")[0]
    if not product.isprintable():
        product = "".join(c for c in product if c.isprintable())
    product = product[:80]
    if not product:
        return address
    return product if address in ("127.0.0.1", "::1", "") else f"{product} ({address})"
