"""The proxy's own answers: what it answers itself, and the bytes of it.

Not here: when it does (`call.py`, `admission.py`), how a dialect says an error (`observers`).
"""

from __future__ import annotations

from email.utils import formatdate

from ollama_proxy.exchange import Reason, State
from ollama_proxy.headers import own_answer


class Refusal(Exception):
    """The proxy answers itself: the status, what to record, and the sentence for the client.

    Without a sentence the answer is Ollama's own to such a request, and is not marked as ours.
    """

    def __init__(self, status: int, state: State, reason: Reason, message: str = "") -> None:
        super().__init__(message)
        self.status, self.state, self.reason, self.message = status, state, reason, message


def refusal_answer(refusal: Refusal, body: bytes, *, keep_alive: bool, head_only: bool) -> bytes:
    """The whole answer as it goes over the wire; `body` is the sentence in the client's dialect."""
    return own_answer(
        refusal.status,
        refusal.reason.value if refusal.message else None,
        body,
        keep_alive=keep_alive,
        head_only=head_only,
        again=refusal.reason is not Reason.OPERATOR,
        date=formatdate(usegmt=True),
    )
