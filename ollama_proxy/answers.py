"""Answers that are not relayed: the proxy's own, and the word to aiohttp that one was sent.

Not here: when the proxy answers itself (`call.py`), how a dialect says an error (`observers`).
"""

from __future__ import annotations

from email.utils import formatdate

from aiohttp import web

from ollama_proxy.exchange import Reason, State
from ollama_proxy.headers import own_answer


class Refusal(Exception):
    """The proxy answers itself: the status, what to record, and the sentence for the client.

    Without a sentence the answer is Ollama's own to such a request, and is not marked as ours.
    """

    def __init__(self, status: int, state: State, reason: Reason, message: str = "") -> None:
        super().__init__(message)
        self.status, self.state, self.reason, self.message = status, state, reason, message


class Answered(web.StreamResponse):
    """Tells aiohttp that the answer is already on the wire: `KEPT` or `CLOSED` says what follows.

    There are just these two: aiohttp keeps nothing of a call in what it never prepares.
    """

    def __init__(self, keep_alive: bool) -> None:
        super().__init__()
        self._stays_open = keep_alive

    @property
    def keep_alive(self) -> bool:
        return self._stays_open

    async def prepare(self, request: web.BaseRequest) -> None:
        return None

    async def write_eof(self, data: bytes = b"") -> None:
        return None


KEPT, CLOSED = Answered(True), Answered(False)


def write_refusal(request: web.BaseRequest, refusal: Refusal, body: bytes) -> Answered:
    """Write the proxy's own answer to the client, if it is still there."""
    client = request.transport
    if client is None:
        return CLOSED
    keep_alive = request.keep_alive and request.content.is_eof() and request.version >= (1, 1)
    answer = own_answer(
        refusal.status,
        refusal.reason.value if refusal.message else None,
        body,
        keep_alive=keep_alive,
        head_only=request.method == "HEAD",
        date=formatdate(usegmt=True),
    )
    client.write(answer)
    request.writer.output_size += len(answer)
    return KEPT if keep_alive else CLOSED
