"""Which Host and Origin Ollama answers, and its CORS headers. Pure.

The tables are those of server/routes.go and envconfig (CVE-2024-28224). Not here: OLLAMA_ORIGINS.
"""

from __future__ import annotations

import ipaddress
import re
import socket
from typing import NamedTuple

_LOCAL_DOMAINS = (".localhost", ".local", ".internal")
_LOCAL_ORIGIN = re.compile(r"https?://(?:localhost|127\.0\.0\.1|0\.0\.0\.0)(?::.*)?\Z")
_APP_ORIGIN = re.compile(
    r"(?:app|file|tauri|vscode-webview|vscode-file|"
    r"chrome-extension|safari-extension|moz-extension|ms-browser-extension)://"
)
_ALLOWED_HEADERS = (
    "Authorization,Content-Type,User-Agent,Accept,X-Requested-With,Openai-Beta,X-Stainless-Arch,"
    "X-Stainless-Async,X-Stainless-Custom-Poll-Interval,X-Stainless-Helper-Method,"
    "X-Stainless-Lang,X-Stainless-Os,X-Stainless-Package-Version,X-Stainless-Poll-Helper,"
    "X-Stainless-Retry-Count,X-Stainless-Runtime,X-Stainless-Runtime-Version,X-Stainless-Timeout"
)
_VARY_PREFLIGHT = ("Origin", "Access-Control-Request-Method", "Access-Control-Request-Headers")

Headers = list[tuple[str, str]]


class Verdict(NamedTuple):
    """The status that ends the request, 0 for none, and headers to add to its answer."""

    status: int
    headers: Headers


def judge(method: str, host: str, origin: str, on_loopback: bool) -> Verdict:
    """First the origin, then the host, as Ollama's handlers are chained."""
    headers: Headers = []
    if origin and origin not in (f"http://{host}", f"https://{host}"):
        if not (_LOCAL_ORIGIN.match(origin) or _APP_ORIGIN.match(origin)):
            return Verdict(403, [])
        if method == "OPTIONS":
            return Verdict(204, _preflight(origin))
        headers = [("Access-Control-Allow-Origin", origin), ("Vary", "Origin")]
    if not on_loopback or _is_local_address(_bare(host)):
        return Verdict(0, headers)
    if not _is_local_name(_bare(host).lower()):
        return Verdict(403, headers)
    return Verdict(204 if method == "OPTIONS" else 0, headers)


def _preflight(origin: str) -> Headers:
    return [
        ("Access-Control-Allow-Headers", _ALLOWED_HEADERS),
        ("Access-Control-Allow-Methods", "GET,POST,PUT,PATCH,DELETE,HEAD,OPTIONS"),
        ("Access-Control-Allow-Origin", origin),
        ("Access-Control-Max-Age", "43200"),
        *(("Vary", name) for name in _VARY_PREFLIGHT),
    ]


def _bare(host: str) -> str:
    """Without a port and without the brackets of an IPv6 address."""
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0] if host.count(":") == 1 else host


def _is_local_address(host: str) -> bool:
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    return address.is_loopback or address.is_private or address.is_unspecified


def _is_local_name(host: str) -> bool:
    known = ("", "localhost", socket.gethostname().lower())
    return host in known or host.endswith(_LOCAL_DOMAINS)
