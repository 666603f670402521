"""Asks a proxy, in threads: its event stream, which is taken up again when it breaks, and lists.

What comes is put into one queue, and `wake` called. Not here: what it means (`state.py`).
"""

from __future__ import annotations

import contextlib
import json
import queue
import threading
from collections.abc import Callable, Iterator
from typing import Any

from ollama_proxy.rest import Refused, ask, cause, events
from ollama_proxy.top.state import State

LISTS_SECONDS = 2.0
FINDINGS_EVERY = 5
FINDINGS = "insights?since=1d&limit=20"
PAUSE, LONGEST_PAUSE = 0.5, 5.0
Message = tuple[str, Any]
"""An event, or ("models" | "clients" | "findings", rows), ("trouble", why or None), ("said", text),
("refused", why)."""


class Feed:
    """What a proxy tells from `start` on; `admin` is its pages' address."""

    def __init__(self, admin: str, token: str | None, wake: Callable[[], None]) -> None:
        self._admin, self._token, self._wake = admin, token, wake
        self._queue: queue.SimpleQueue[Message] = queue.SimpleQueue()

    def start(self) -> None:
        for work in (self._listen, self._poll):
            threading.Thread(target=work, daemon=True).start()

    def take(self, state: State) -> Iterator[Message]:
        """Bring the state up to now; yields what is to be said beside it."""
        while not self._queue.empty():
            kind, data = self._queue.get()
            if kind in ("said", "refused"):
                yield kind, data
            elif kind == "trouble":
                state.trouble = data
            elif kind in ("models", "clients", "findings"):
                setattr(state, kind, data)
            else:
                state.apply(kind, data)

    def cancel(self, id: str) -> None:
        """End a running call; what became of that comes as ("said", text)."""
        threading.Thread(target=self._cancel, args=(id,), daemon=True).start()

    def _put(self, kind: str, data: Any) -> None:
        self._queue.put((kind, data))
        self._wake()

    def _listen(self) -> None:
        pause = PAUSE
        while True:
            try:
                for event in events(self._admin, self._token):
                    if event.kind == "snapshot":
                        self._put("trouble", None)
                        pause = PAUSE
                    self._put(event.kind, json.loads(event.data))
                why = "the proxy ended its stream"
            except Refused as refused:
                if refused.lacks_token:
                    self._put("refused", str(refused))
                    return
                why = f"the proxy {refused}"
            except (OSError, ValueError) as error:
                why = cause(error)
            self._put("trouble", f"{why}; asked again and again")
            threading.Event().wait(pause)
            pause = min(2 * pause, LONGEST_PAUSE)

    def _poll(self) -> None:
        turn = 0
        while True:
            try:
                for name in ("models", "clients"):
                    self._put(name, ask(self._admin, name, self._token))
                if turn % FINDINGS_EVERY == 0:
                    self._put("findings", ask(self._admin, FINDINGS, self._token))
            except (Refused, OSError, ValueError):
                pass  # the stream says why
            turn += 1
            threading.Event().wait(LISTS_SECONDS)

    def _cancel(self, id: str) -> None:
        try:
            ask(self._admin, f"requests/{id}/cancel", self._token, {})
        except (Refused, OSError, ValueError) as error:
            why = f"it {error}" if isinstance(error, Refused) else cause(error)
            self._put("said", f"not ended: {why}")
        else:
            self._put("said", "ended")


def snapshot(admin: str, token: str | None) -> State:
    """The state now, without a stream. Raises as `rest.ask` does."""
    state = State()
    status, active = ask(admin, "status", token), ask(admin, "active", token)
    state.apply("snapshot", {"status": status, "active": active})
    state.models, state.clients = ask(admin, "models", token), ask(admin, "clients", token)
    with contextlib.suppress(Refused):  # the store cannot be read now, which the status says
        state.findings = ask(admin, FINDINGS, token)
    return state
