"""Which requests are sent upstream; the others are answered here.

Not here: what is no request (`request_head.py`).
"""

from __future__ import annotations

from ollama_proxy.answers import Refusal
from ollama_proxy.downstream import Downstream
from ollama_proxy.exchange import Reason, State
from ollama_proxy.headers import host_allowed
from ollama_proxy.parts import Parts
from ollama_proxy.records import PROBE_HEADER
from ollama_proxy.request_head import RequestHead

LOOP = "the upstream leads back to this proxy: set --upstream to Ollama's own address"
_PROBE = PROBE_HEADER.lower().encode()


def admit(head: RequestHead, client: Downstream, parts: Parts) -> None:
    """Raises Refusal for what must not be sent on."""
    if head.method == "CONNECT":
        raise _refused(501, "CONNECT is not served: no open proxy")
    if parts.health().loop or _came_from_here(head, client, parts):
        raise Refusal(508, State.FAILED, Reason.LOOP, LOOP)
    if parts.target.check_host and not host_allowed(head.header(b"host")):
        raise _refused(403)


def _refused(status: int, message: str = "") -> Refusal:
    return Refusal(status, State.FAILED, Reason.REFUSED, message)


def _came_from_here(head: RequestHead, client: Downstream, parts: Parts) -> bool:
    """Whether this request is one that this proxy sent upstream."""
    if head.has(_PROBE) and head.header(_PROBE) == parts.instance:
        return True
    return parts.pool.is_other_end(client.peer, client.local)
