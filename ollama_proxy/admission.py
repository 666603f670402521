"""Which requests are sent upstream, and with which head; the others are answered here.

Not here: malformed requests, which aiohttp's parser refuses before; the edits themselves
(`headers.py`).
"""

from __future__ import annotations

from aiohttp import web

from ollama_proxy.answers import Refusal
from ollama_proxy.exchange import Reason, State
from ollama_proxy.headers import HeadError, host_allowed, request_head
from ollama_proxy.parts import Parts
from ollama_proxy.records import PROBE_HEADER

LOOP = "the upstream leads back to this proxy: set --upstream to Ollama's own address"


def admitted_head(request: web.BaseRequest, target: str, parts: Parts) -> bytes:
    """The head to send upstream for this `target`. Raises Refusal for what must not be sent."""
    if request.version not in ((1, 0), (1, 1)):
        raise _refused(505, "only HTTP/1.0 and HTTP/1.1 are served")
    if request.method == "CONNECT":
        raise _refused(501, "CONNECT is not served: no open proxy")
    if parts.health().loop or _came_from_here(request, parts):
        raise Refusal(508, State.FAILED, Reason.LOOP, LOOP)
    if parts.target.check_host and not host_allowed(request.headers.get("Host", "")):
        raise _refused(403)
    try:
        return request_head(
            request.method,
            parts.target.prefixed(target.encode("utf-8", "surrogateescape")),
            request.raw_headers,
            http_10=request.version < (1, 1),
            authority=None if parts.target.pass_host else parts.target.authority,
            cut=parts.policy.cut,
        )
    except HeadError as error:
        raise _refused(501, str(error)) from None


def _refused(status: int, message: str = "") -> Refusal:
    return Refusal(status, State.FAILED, Reason.REFUSED, message)


def _came_from_here(request: web.BaseRequest, parts: Parts) -> bool:
    """Whether this request is one that this proxy sent upstream."""
    if request.headers.get(PROBE_HEADER) == parts.instance:
        return True
    transport = request.transport
    return transport is not None and parts.pool.is_other_end(transport)
