"""Who may ask the admin: this machine only, by its own names, from its own pages.

Not here: passwords (there are none yet) and the pages' content security policy, which pages set.
"""

from __future__ import annotations

import ipaddress
from typing import Any

from aiohttp import web
from aiohttp.typedefs import Handler

from ollama_proxy.bus import encode
from ollama_proxy.headers import host_allowed

ELSEWHERE = "calls to Ollama go to the proxy's own port"
"""For a program that was pointed at the admin's."""

METHODS = ("GET", "HEAD")
HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
_PORTS = {"http": ":80", "https": ":443"}


def secure(app: web.Application) -> None:
    """Put the checks in front of all that `app` serves."""
    app.middlewares.insert(0, _checked)
    app.on_response_prepare.append(_add_headers)


def refusal(request: web.BaseRequest) -> str | None:
    """Why this request gets no answer, or None if it does."""
    if not is_local(_peer(request)):
        return "the admin answers to this machine only: open it there, or through an SSH tunnel"
    hosts = request.headers.getall("Host", [])
    # A page of another site whose name was made to point here sends that name (CVE-2024-28224).
    if len(hosts) != 1 or not hosts[0] or not host_allowed(hosts[0]):
        return "this Host is not one of this machine's names: use localhost or its address"
    origins = request.headers.getall("Origin", [])
    if any(_origin(origin) != _origin(f"{request.scheme}://{hosts[0]}") for origin in origins):
        return "the admin answers its own pages only, not those of another origin"
    if not _site_allowed(request):
        return "the admin's data is not for pages of another site"
    return None


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


def _peer(request: web.BaseRequest) -> Any:
    transport = request.transport
    return None if transport is None else transport.get_extra_info("peername")


def _origin(text: str) -> str:
    """Scheme, host and port in one spelling (RFC 6454 section 4)."""
    origin = text.lower()
    return origin.removesuffix(_PORTS.get(origin.partition("://")[0], ""))


def _site_allowed(request: web.BaseRequest) -> bool:
    """Links from elsewhere to a page are fine; all else must come from our own pages, or no page.

    A form that another site's page sends is a navigation, too, but no link.

    Another port of localhost is the same *site* (Fetch Metadata, section 2.3): not enough either.
    """
    if request.headers.get("Sec-Fetch-Site", "none") in ("same-origin", "none"):
        return True
    follows = request.method in METHODS and request.headers.get("Sec-Fetch-Mode") == "navigate"
    return follows and "/api/" not in request.path


@web.middleware
async def _checked(request: web.Request, handler: Handler) -> web.StreamResponse:
    refused = refusal(request)
    if refused is not None:
        return _refused(403, refused)
    if request.method not in METHODS and request.match_info.http_exception is not None:
        answer = _refused(405, f"here the admin only reads: use GET; {ELSEWHERE}")
        answer.headers["Allow"] = ", ".join(METHODS)
        return answer
    return await handler(request)


def _refused(status: int, error: str) -> web.Response:
    return web.Response(
        status=status,
        body=encode({"error": error}),
        content_type="application/json",
        headers={"Cache-Control": "no-store"},
    )


async def _add_headers(request: web.Request, response: web.StreamResponse) -> None:
    response.headers.update(HEADERS)
    response.headers.pop("Server", None)  # names the Python in use
