"""Who may ask the admin: its own pages, and programs; without a token this machine only.

Where a token is asked for (`gate.py`), other machines may come, by any name. The names that are
allowed without one keep off a site that had its own name point here (DNS rebinding): its page would
be of our origin. With a token it reads no more than the login: a session's cookie belongs to the
name at which it was opened, and goes to no page of another. So a host needs no list of its names,
and a server with TLS can stand in front. Not here: the pages' content security policy.
"""

from __future__ import annotations

import ipaddress
import re
from typing import Any

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from ollama_proxy.bus import encode
from ollama_proxy.headers import host_allowed

ELSEWHERE = "calls to Ollama go to the proxy's own port"
"""For a program that was pointed at the admin's."""

METHODS = ("GET", "HEAD")
HEADERS = {
    "X-Content-Type-Options": "nosniff",
    # Not no-referrer: of forms a browser would then send "Origin: null" even to us.
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
_HOST = re.compile(r"(?:[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]+)?")
_PORTS = {"http": ":80", "https": ":443"}


def secure(app: web.Application, asked: Middleware | None = None) -> None:
    """Put the checks in front of all that `app` serves; `asked` is what asks for a token."""

    @web.middleware
    async def checked(request: web.Request, handler: Handler) -> web.StreamResponse:
        error = refusal(request, guarded=asked is not None)
        return await handler(request) if error is None else refused(403, error)

    app.middlewares[:0] = [checked, *([asked] if asked else []), _only_reads]
    app.on_response_prepare.append(_add_headers)


@web.middleware
async def _only_reads(request: web.Request, handler: Handler) -> web.StreamResponse:
    if request.method in METHODS or request.match_info.http_exception is None:
        return await handler(request)
    answer = refused(405, f"the admin only reads: use GET; {ELSEWHERE}")
    answer.headers["Allow"] = ", ".join(METHODS)
    return answer


def refusal(request: web.BaseRequest, guarded: bool = False) -> str | None:
    """Why this request gets no answer, or None if it does."""
    if not guarded and not is_local(peer_of(request)):
        return (
            "the admin answers to this machine only: open it there, or through an SSH tunnel, or "
            "set admin.token"
        )
    hosts = request.headers.getall("Host", [])
    # A page of another site whose name was made to point here sends that name (CVE-2024-28224).
    if len(hosts) != 1 or not (_HOST.fullmatch(hosts[0]) if guarded else _named_here(hosts[0])):
        return "this Host is not one of this machine's names: use localhost or its address"
    own = _origin(f"{'https' if encrypted(request) else 'http'}://{hosts[0]}")
    if any(_origin(origin) != own for origin in request.headers.getall("Origin", [])):
        return "the admin answers its own pages only, not those of another origin"
    if not _site_allowed(request):
        return "the admin's data is not for pages of another site"
    return None


def _named_here(host: str) -> bool:
    return host != "" and host_allowed(host)


def encrypted(request: web.BaseRequest) -> bool:
    """Whether the browser speaks TLS, with us or with a server in front that says so.

    Who makes that up gains nothing, and a page of another origin cannot: no such header of its own
    passes without our consent (the CORS protocol), and we never give it.
    """
    return request.secure or request.headers.get("X-Forwarded-Proto") == "https"


def is_local(peer: Any) -> bool:
    """Whether a socket's peer name is this machine: loopback, or a UNIX socket's (a text)."""
    if isinstance(peer, (str, bytes)):
        return True
    try:
        address = ipaddress.ip_address(peer[0])
    except (TypeError, ValueError, IndexError):
        return False
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped.is_loopback
    return address.is_loopback


def peer_of(request: web.BaseRequest) -> Any:
    """The address of the socket's other end, as the system names it."""
    transport = request.transport
    return None if transport is None else transport.get_extra_info("peername")


def _origin(text: str) -> str:
    """Scheme, host and port in one spelling (RFC 6454 section 4)."""
    origin = text.lower()
    return origin.removesuffix(_PORTS.get(origin.partition("://")[0], ""))


def _site_allowed(request: web.BaseRequest) -> bool:
    """Links from elsewhere to a page are fine; all else must come from our own pages, or no page:
    forms, too, which navigate like links.

    A form that another site's page sends is a navigation, too, but no link.

    Another port of localhost is the same *site* (Fetch Metadata, section 2.3): not enough either.
    """
    if request.headers.get("Sec-Fetch-Site", "none") in ("same-origin", "none"):
        return True
    link = request.method in METHODS and request.headers.get("Sec-Fetch-Mode") == "navigate"
    return link and "/api/" not in request.path


def refused(status: int, error: str) -> web.Response:
    """An answer without what was asked for: one line, in JSON."""
    return web.Response(
        status=status,
        body=encode({"error": error}),
        content_type="application/json",
        headers={"Cache-Control": "no-store"},
    )


async def _add_headers(request: web.Request, response: web.StreamResponse) -> None:
    response.headers.update(HEADERS)
    response.headers.pop("Server", None)  # names the Python in use
