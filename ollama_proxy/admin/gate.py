"""Lets in who has the token: asked on every request, but for what is marked `without_token`.

`Authorization: Bearer TOKEN`, or the cookie of a session. Who has neither is led to the login, or,
as a program, told what is missing. Not here: Host and Origin (`security.py`), the form
(`login.py`).
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Any, TypeVar
from urllib.parse import quote

from aiohttp import web
from aiohttp.typedefs import Handler

from ollama_proxy.admin.attempts import Attempts
from ollama_proxy.admin.choices import cookie
from ollama_proxy.admin.security import METHODS, encrypted, peer_of, refused
from ollama_proxy.admin.sessions import SESSION_SECONDS, Sessions
from ollama_proxy.headers import CHALLENGE

_BACK = re.compile(r"(?:[\w~.-]|\?)[!-\[\]-~]{0,2000}", re.ASCII)
_open: set[Any] = set()

H = TypeVar("H", bound=Callable[..., Any])


def without_token(handler: H) -> H:
    """Mark a handler that answers everybody."""
    _open.add(handler)
    return handler


def way_back(text: str) -> str:
    """A path and query below the mount, as told after a `to=`; "" for what is none.

    It neither begins with a slash nor has a backslash, a blank or a control character, which
    browsers leave out or take for one: behind the mount's own slash it stays on this host.
    """
    return text if _BACK.fullmatch(text) else ""


class Gate:
    """The door to one mount of the admin, at `path` ("" or "/admin"); `now` is seconds since
    1970."""

    def __init__(
        self, sessions: Sessions, attempts: Attempts, path: str, now: Callable[[], float]
    ) -> None:
        self.path = path
        self._sessions, self._attempts, self._now = sessions, attempts, now
        self._cookie = sessions.cookie(path)

    @web.middleware
    async def asked(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """The middleware that asks."""
        wanted = request.match_info.handler
        if getattr(wanted, "__func__", wanted) in _open or self.has_session(request):
            return await handler(request)
        answer = self._by_bearer(request)
        return await handler(request) if answer is None else answer

    def wait(self, request: web.Request) -> float:
        """Seconds until a token from this address is looked at again; 0 if now."""
        return self._attempts.wait(peer_of(request))

    def accepts(self, request: web.Request, token: str) -> bool:
        """Whether this is the token; if not, that is remembered. Not asked while one must wait."""
        right = self._sessions.knows(token)
        if not right:
            self._attempts.failed(peer_of(request), token)
        return right

    def has_session(self, request: web.Request) -> bool:
        value = cookie(request, self._cookie)
        return self._sessions.holds(self.path, value, self._now())

    def let_in(self, request: web.Request, response: web.Response) -> None:
        """Open a session for whoever gets this response."""
        value = self._sessions.opened(self.path, self._now())
        self._set_cookie(request, response, value, SESSION_SECONDS)

    def let_out(self, request: web.Request, response: web.Response) -> None:
        """End the session of whoever gets this response."""
        self._set_cookie(request, response, "", 0)

    def _set_cookie(
        self, request: web.Request, response: web.Response, value: str, seconds: int
    ) -> None:
        response.set_cookie(
            self._cookie,
            value,
            max_age=seconds,
            path=self.path or "/",
            secure=encrypted(request),
            httponly=True,
            samesite="Strict",
        )

    def _by_bearer(self, request: web.Request) -> web.Response | None:
        """None: it has the token."""
        lines = request.headers.getall("Authorization", [])
        scheme, _, token = lines[0].partition(" ") if len(lines) == 1 else ("", "", "")
        if scheme.lower() != "bearer":
            return self._led_to_login(request)
        if wait := self.wait(request):
            error = f"too many wrong tokens from this address: try again in {math.ceil(wait)} s"
            answer = _unknown(error, 429)
            answer.headers["Retry-After"] = str(math.ceil(wait))
            return answer
        if self.accepts(request, token.strip()):
            return None
        return _unknown("this is not the token: send the value of the setting admin.token")

    def _led_to_login(self, request: web.Request) -> web.Response:
        wanted = request.rel_url.raw_path_qs.removeprefix(self.path).removeprefix("/")
        # Also below a path that there is at the other door: a program asks where it is.
        asked = (wanted, wanted.partition("/")[2])
        if request.method not in METHODS or any(one.startswith("api/") for one in asked):
            return _unknown(
                "a token is needed: send the header Authorization: Bearer TOKEN with the value of "
                f"the setting admin.token, or log in at {self.path}/login"
            )
        to = way_back(wanted)
        query = f"?to={quote(to, safe='')}" if to else ""
        headers = {"Location": f"{self.path}/login{query}", "Cache-Control": "no-store"}
        return web.Response(status=303, headers=headers)


def _unknown(error: str, status: int = 401) -> web.Response:
    answer = refused(status, error)
    answer.headers["WWW-Authenticate"] = CHALLENGE
    return answer
