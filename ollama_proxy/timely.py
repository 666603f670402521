"""Answers over HTTP that are there by a moment, or never: whoever sends a byte a second does not
move it, be that in the status line, the headers, or a body. Handlers for urllib.

Not here: what is asked (`rest.py`). The look-up of a host's name takes what it takes, and a name
with more than one address is tried at each of them for the time that is left.
"""

from __future__ import annotations

import functools
import http.client
import io
import socket
import time
import urllib.request
from typing import Any


class Until:
    """A moment so many seconds from now; a stream moves it on with each of its pieces."""

    def __init__(self, seconds: float) -> None:
        self.renew(seconds)

    def renew(self, seconds: float) -> None:
        self._at = time.monotonic() + seconds

    def left(self) -> float:
        """Seconds, more than 0. Raises TimeoutError."""
        left = self._at - time.monotonic()
        if left <= 0:
            raise TimeoutError
        return left


def handlers(until: Until) -> tuple[urllib.request.BaseHandler, ...]:
    """For `build_opener`: all that it opens is answered by then, redirections among it."""
    return _Http(until), _Https(until)


class _Received(io.RawIOBase):
    """What a socket receives in time."""

    def __init__(self, until: Until, sock: socket.socket) -> None:
        self._until, self._socket = until, sock
        self._received = sock.makefile("rb", buffering=0)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        self._socket.settimeout(self._until.left())
        return self._received.readinto(buffer)

    def close(self) -> None:
        self._received.close()
        super().close()


class _Answer(http.client.HTTPResponse):
    def __init__(self, until: Until, sock: socket.socket, **more: Any) -> None:
        super().__init__(sock, **more)
        self.fp.close()
        self.fp = io.BufferedReader(_Received(until, sock))


class _Connection(http.client.HTTPConnection):
    until: Until

    def connect(self) -> None:
        self.timeout = self.until.left()
        super().connect()
        self.sock.settimeout(self.until.left())  # a TLS handshake follows, or the request
        self.response_class = functools.partial(_Answer, self.until)  # type: ignore[assignment]


class _Secure(http.client.HTTPSConnection, _Connection):
    pass


def _made(kind: type[_Connection], until: Until, *where: Any, **more: Any) -> _Connection:
    connection = kind(*where, **more)
    connection.until = until
    return connection


class _Http(urllib.request.HTTPHandler):
    def __init__(self, until: Until) -> None:
        super().__init__()
        self._until = until

    def http_open(self, request: urllib.request.Request) -> Any:
        return self.do_open(functools.partial(_made, _Connection, self._until), request)


class _Https(urllib.request.HTTPSHandler):
    def __init__(self, until: Until) -> None:
        super().__init__()
        self._until = until

    def https_open(self, request: urllib.request.Request) -> Any:
        return self.do_open(functools.partial(_made, _Secure, self._until), request)
