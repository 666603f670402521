"""Asks a running proxy's REST, for commands and the Python client. By the standard library: it must
start at once.

Not here: what is asked for; finding the proxy (`places.py`, `running.py`).
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from typing import Any

from ollama_proxy.headers import CHALLENGE
from ollama_proxy.sse import Sent, Stream
from ollama_proxy.timely import Until, handlers

ASK_SECONDS = 5.0
QUIET_SECONDS = 10.0
"""An event stream tells the status each second; one that says nothing for so long is dead."""
MOST_BYTES = 2**26
"""Of an answer, or an event: the longest page of calls takes half of that."""
TOO_LONG = "the answer has no end"
BROKEN_OFF = "the answer broke off"
LONGEST_REFUSAL = 2**16
"""Bytes of a body that are read where the answer is a refusal."""
NO_HTTP = "what answers does not speak HTTP"
_PIECE = 2**16
Header = Callable[[str], str | None]
"""One of an answer's headers, by its name in any case."""


class Refused(Exception):
    """It answers, but not with what was asked for: the text says why, in half a sentence.

    `status`: the HTTP status. `told`: whether the words are the REST's own. `lacks_token`: whether
    that is why."""

    def __init__(self, why: str, status: int, told: bool, lacks_token: bool) -> None:
        super().__init__(why)
        self.status, self.told, self.lacks_token = status, told, lacks_token


def ask(
    admin: str,
    path: str,
    token: str | None = None,
    body: dict[str, Any] | None = None,
    seconds: float = ASK_SECONDS,
) -> Any:
    """The JSON that `api/{path}` is answered with; with a `body` it is a POST.

    Raises Refused, OSError where nobody answers, and ValueError for what is no JSON. The token is
    said to nobody but a proxy that asks for it, as the port may be another program's, and no
    redirection is followed.
    """
    data = None if body is None else json.dumps(body).encode()
    try:
        return json.loads(got(f"{admin}/api/{path}", token, data, seconds)[0])
    except RecursionError as error:
        raise ValueError("the answer is nested too deeply") from error


def got(
    url: str, token: str | None = None, data: bytes | None = None, seconds: float = ASK_SECONDS
) -> tuple[bytes, Header]:
    """An answer's body and headers, all of it within `seconds`; raises as `ask` does."""
    request = urllib.request.Request(url, data)
    if data is not None:
        request.add_header("Content-Type", "application/json")
    with _answered(request, token, Until(seconds)) as answer, _whole():
        body, length = bytearray(), answer.length
        while length != len(body) and (piece := answer.read1(_PIECE)):
            body += piece
            if len(body) > MOST_BYTES:
                raise ValueError(TOO_LONG)
        if length is not None and length > len(body):
            raise ConnectionAbortedError(BROKEN_OFF)
        return bytes(body), answer.headers.get


def events(
    admin: str, token: str | None, last_id: str | None = None, seconds: float = QUIET_SECONDS
) -> Iterator[Sent]:
    """The stream's events, as they come; it begins within `seconds`. Raises as `ask` does;
    `last_id`: the last one's."""
    request = urllib.request.Request(f"{admin}/api/events")
    if last_id is not None:
        request.add_header("Last-Event-ID", last_id)
    stream, until = Stream(MOST_BYTES), Until(seconds)
    with _answered(request, token, until) as answer, _whole():
        while piece := answer.read1(_PIECE):
            yield from stream.feed(piece)
            until.renew(QUIET_SECONDS)


def _answered(request: urllib.request.Request, token: str | None, until: Until) -> Any:
    """The open answer to a request, read by whoever asked for it; raises as `ask` does."""
    try:
        return _opened(request, until, _Unled())
    except urllib.error.HTTPError as error:
        refused = _refused(error)
        if token is None or not refused.lacks_token:
            raise refused from error
    request.add_unredirected_header("Authorization", f"Bearer {token}")
    try:
        return _opened(request, until, _Unled())
    except urllib.error.HTTPError as error:
        raise _refused(error) from error


def opened(request: urllib.request.Request, seconds: float = ASK_SECONDS) -> Any:
    """The open answer, to be read within `seconds`, from nobody but who was asked: the environment
    may name a proxy.

    Raises HTTPError, OSError, and ValueError for what is no HTTP.
    """
    return _opened(request, Until(seconds))


def _opened(
    request: urllib.request.Request, until: Until, *more: urllib.request.BaseHandler
) -> Any:
    own = (urllib.request.ProxyHandler({}), *handlers(until))
    try:
        return urllib.request.build_opener(*own, *more).open(request)
    except http.client.RemoteDisconnected:
        raise  # before it answered anything: an OSError, too
    except http.client.HTTPException as error:
        raise ValueError(NO_HTTP) from error


class _Unled(urllib.request.HTTPRedirectHandler):
    """Follows no redirection: a REST makes none, so it is another program's."""

    def redirect_request(self, *_: Any) -> None:
        return None


@contextlib.contextmanager
def _whole() -> Iterator[None]:
    """Around the reading of an answer: one that breaks off is a ConnectionError."""
    try:
        yield
    except http.client.HTTPException as error:
        raise ConnectionAbortedError(BROKEN_OFF) from error


def cause(error: Exception) -> str:
    """Why nothing could be asked, in a few words."""
    if isinstance(error, urllib.error.URLError) and isinstance(error.reason, Exception):
        error = error.reason
    if isinstance(error, TimeoutError):
        return "no answer in time"
    if isinstance(error, OSError) and error.errno:
        return error.strerror or os.strerror(error.errno)
    return str(error) or type(error).__name__


def refusal(status: int, reason: str, header: Header, body: bytes) -> Refused:
    """What an answer other than 200 means."""
    if status in (401, 429) and header("WWW-Authenticate") == CHALLENGE:
        why = (
            "asks for its token: set admin.token (environment OLLAMA_PROXY_ADMIN_TOKEN, or the "
            "config file) as it was when that one started"
        )
        if status == 429:
            wait = header("Retry-After")
            why = f"was told too many wrong tokens from here: try again in {wait} s"
        return Refused(why, status, told=True, lacks_token=True)
    try:
        told = str(json.loads(body)["error"])
    except (ValueError, KeyError, TypeError, RecursionError):
        return Refused(f"answers {status}: {reason}", status, told=False, lacks_token=False)
    return Refused(f"answers {status}: {told}", status, told=True, lacks_token=False)


def _refused(error: urllib.error.HTTPError) -> Refused:
    with contextlib.closing(error):
        try:
            body = error.read(LONGEST_REFUSAL)
        except TimeoutError:
            raise
        except (OSError, http.client.HTTPException):
            body = b""
    return refusal(error.code, error.reason, error.headers.get, body)
