"""The login: a form that asks for the token, and the way out. It works without script.

Not here: what a session is (`sessions.py`), who is sent here (`gate.py`).
"""

from __future__ import annotations

import asyncio
import math
from urllib.parse import parse_qs, quote

from aiohttp import web

from ollama_proxy.admin.choices import choosing, language
from ollama_proxy.admin.gate import Gate, way_back, without_token
from ollama_proxy.admin.site import POLICY, Site
from ollama_proxy.headers import CHALLENGE

FORM = "application/x-www-form-urlencoded"
FORM_BYTES = 16 * 1024
FORM_SECONDS = 10.0
"""How long the form may take to arrive."""


class Login:
    """The page in the style of all others, and what its form and the button "Log out" send."""

    def __init__(self, gate: Gate, site: Site) -> None:
        self._gate, self._site = gate, site

    def add_routes(self, app: web.Application) -> None:
        app.router.add_get("/login", self.page)
        app.router.add_post("/login", self.enter)
        app.router.add_post("/logout", self.leave)

    @without_token
    async def page(self, request: web.Request) -> web.Response:
        if (chosen := choosing(request)) is not None:
            return chosen
        to = way_back(request.query.get("to", ""))
        return self._on(to) if self._gate.has_session(request) else self._form(request, to)

    @without_token
    async def enter(self, request: web.Request) -> web.Response:
        form = await _sent(request)
        to = way_back(form.get("to", ""))
        words = self._site.words[language(request)]
        if wait := self._gate.wait(request):
            told = words.t("login.wait", s=str(math.ceil(wait)))
            answer = self._form(request, to, told, 429)
            answer.headers["Retry-After"] = str(math.ceil(wait))
            return answer
        # Blanks come along with what is copied; a token has none.
        if not self._gate.accepts(request, form.get("token", "").strip()):
            answer = self._form(request, to, words.t("login.wrong"), 401)
            answer.headers["WWW-Authenticate"] = CHALLENGE
            return answer
        answer = self._on(to)
        self._gate.let_in(request, answer)
        return answer

    @without_token
    async def leave(self, request: web.Request) -> web.Response:
        answer = self._on("login")
        self._gate.let_out(request, answer)
        return answer

    def _on(self, to: str) -> web.Response:
        """To a page of this mount."""
        headers = {"Location": f"{self._gate.path}/{to}", "Cache-Control": "no-store"}
        return web.Response(status=303, headers=headers)

    def _form(
        self, request: web.Request, to: str, error: str = "", status: int = 200
    ) -> web.Response:
        here = f"to={quote(to, safe='')}&" if to else ""
        told = {"to": to, "error": error, "here": here}
        html = self._site.html(request, "login.html", lambda w: told)
        headers = POLICY | {"Cache-Control": "no-store"}
        return web.Response(text=html, status=status, content_type="text/html", headers=headers)


async def _sent(request: web.Request) -> dict[str, str]:
    """The form's fields, the last of each name. Raises HTTPException for what is no such form."""
    if request.content_type != FORM:
        raise web.HTTPUnsupportedMediaType(text=f"expected {FORM}: token=…")
    body = b""
    try:
        async with asyncio.timeout(FORM_SECONDS):
            async for piece in request.content.iter_any():
                body += piece
                if len(body) > FORM_BYTES:
                    raise web.HTTPRequestEntityTooLarge(FORM_BYTES, text="the form is too long")
    except TimeoutError:
        raise web.HTTPRequestTimeout(text="the form did not arrive in time") from None
    try:
        fields = parse_qs(body.decode("ascii"), max_num_fields=8)
    except ValueError:
        raise web.HTTPBadRequest(text=f"this is no {FORM}") from None
    return {name: values[-1] for name, values in fields.items()}
