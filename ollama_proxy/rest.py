"""Asks a running proxy's REST, for commands. By the standard library: it must start at once.

Not here: what is asked for; finding the proxy (`running.py`).
"""

from __future__ import annotations

import contextlib
import http.client
import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any

from ollama_proxy.headers import CHALLENGE

ASK_SECONDS = 5.0


class Refused(Exception):
    """It answers, but not with what was asked for: the text says why, in half a sentence."""


def ask(
    admin: str,
    path: str,
    token: str | None = None,
    body: dict[str, Any] | None = None,
    seconds: float = ASK_SECONDS,
) -> Any:
    """The JSON that `api/{path}` is answered with; with a `body` it is a POST.

    Raises Refused, OSError where nobody answers, and ValueError for what is no JSON. The token is
    said to nobody but a proxy that asks for it, as the port may be another program's, and not to
    where a redirection leads.
    """
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(f"{admin}/api/{path}", data)
    if data is not None:
        request.add_header("Content-Type", "application/json")
    with answered(request, token, seconds) as answer, whole():
        return json.load(answer)


def answered(
    request: urllib.request.Request, token: str | None = None, seconds: float = ASK_SECONDS
) -> Any:
    """The open answer to a request, read by whoever asked for it; raises as `ask` does. `seconds`
    are those that nothing comes."""
    try:
        return opened(request, seconds)
    except urllib.error.HTTPError as error:
        if token is None or not _asks_for_token(error):
            raise Refused(_why(error)) from error
    request.add_unredirected_header("Authorization", f"Bearer {token}")
    try:
        return opened(request, seconds)
    except urllib.error.HTTPError as error:
        raise Refused(_why(error)) from error


def opened(request: urllib.request.Request, seconds: float = ASK_SECONDS) -> Any:
    """The open answer, from nobody but who was asked: the environment may name a proxy.

    Raises HTTPError, OSError, and ValueError for what is no HTTP.
    """
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        return direct.open(request, timeout=seconds)
    except http.client.HTTPException as error:
        raise ValueError("what answers does not speak HTTP") from error


@contextlib.contextmanager
def whole() -> Iterator[None]:
    """Around the reading of an answer: one that breaks off is a ConnectionError."""
    try:
        yield
    except http.client.HTTPException as error:
        raise ConnectionAbortedError("the answer broke off") from error


def asks_for_token(refused: Refused) -> bool:
    """Whether that is what it lacks."""
    return isinstance(refused.__cause__, urllib.error.HTTPError) and _asks_for_token(
        refused.__cause__
    )


def _asks_for_token(error: urllib.error.HTTPError) -> bool:
    return error.code in (401, 429) and error.headers.get("WWW-Authenticate") == CHALLENGE


def _why(error: urllib.error.HTTPError) -> str:
    if not _asks_for_token(error):
        return f"answers {error.code}: {_told(error)}"
    if error.code == 429:
        wait = error.headers["Retry-After"]
        return f"was told too many wrong tokens from here: try again in {wait} s"
    return (
        "asks for its token: set admin.token (environment OLLAMA_PROXY_ADMIN_TOKEN, or the config "
        "file) as it was when that one started"
    )


def _told(error: urllib.error.HTTPError) -> str:
    try:
        return str(json.load(error)["error"])
    except (OSError, ValueError, KeyError, TypeError):
        return error.reason
