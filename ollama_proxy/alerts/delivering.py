"""Hands messages to one notifier, one after the other, and remembers how that went.

`put` never waits. What fails is tried again, later and later, as long as that may help; a notifier
that hangs is given up after its time. What waits is bounded. Not here: how one sends.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Literal

import msgspec

from ollama_proxy.alerts.message import Message, Notifier, NotifyError
from ollama_proxy.ids import iso
from ollama_proxy.logs import where

log = logging.getLogger(__name__)

PAUSES = (2.0, 10.0, 60.0)
"""Seconds before each further try."""
WAITING = 100
CLOSE_SECONDS = 1.0
REMEMBERED = 1000

Outcome = Literal["waiting", "sent", "given up"]


class Delivered(msgspec.Struct):
    """How it went since the start. `dropped`: messages that found no room; times are ISO 8601."""

    sent: int = 0
    failed: int = 0
    dropped: int = 0
    last_sent_at: str | None = None
    last_error: str | None = None
    last_error_at: str | None = None


class Delivery:
    """The way to one notifier: `start`, `put`, `stop`."""

    def __init__(
        self,
        name: str,
        kind: str,
        notifier: Notifier,
        *,
        pauses: Sequence[float] = PAUSES,
        now: Callable[[], float] = time.time,
    ) -> None:
        self.name, self.kind = name, kind
        self.how = Delivered()
        self._notifier, self._pauses, self._now = notifier, pauses, now
        self._waiting: deque[Message] = deque()
        self._outcomes: dict[str, Outcome] = {}  # by flip, the newest last
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._failing = False

    @property
    def waiting(self) -> int:
        """Messages that are still to be sent, or being sent."""
        return len(self._waiting)

    def start(self) -> None:
        self._task = asyncio.create_task(self._run(), name=f"notifier {self.name}")

    async def stop(self, seconds: float) -> None:
        """What waits gets that long; the rest is lost, and said so."""
        task, self._task = self._task, None
        if task is not None:
            end = time.monotonic() + seconds
            while self._waiting and not self._failing and time.monotonic() < end:
                await asyncio.wait([task], timeout=0.02)
            task.cancel()
            await asyncio.wait([task], timeout=CLOSE_SECONDS)
        if self._waiting:
            log.warning("notifier %s: %d not sent at the stop", self.name, len(self._waiting))

    def take_over(self, before: Delivery) -> None:
        """What that one has not sent, the one being sent included; it sends no more. Not started
        yet."""
        if before._task is not None:
            before._task.cancel()
        self._waiting, before._waiting = before._waiting, deque()
        self._outcomes = dict(before._outcomes)
        if self._waiting:
            self._wake.set()

    def outcome(self, flip: str) -> Outcome | None:
        """What became of the message of this flip (its id); None: it had none, or long ago."""
        return self._outcomes.get(flip)

    def put(self, message: Message) -> None:
        if len(self._waiting) >= WAITING:
            self.how.dropped += 1
            self._note(message, "given up")
            return
        self._note(message, "waiting")
        self._waiting.append(message)
        self._wake.set()

    async def test(self, message: Message) -> str | None:
        """Send it now, once; the error, if there is one."""
        try:
            await self._send(message)
        except NotifyError as error:
            self._failed(str(error))
            return str(error)
        self._sent()
        return None

    async def _run(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._waiting:
                await self._deliver(self._waiting[0])
                self._waiting.popleft()

    async def _deliver(self, message: Message) -> None:
        for pause in (*self._pauses, None):
            try:
                await self._send(message)
            except NotifyError as error:
                self._failed(str(error))
                if pause is None or not error.again:
                    break
                await asyncio.sleep(pause)
            else:
                self._sent()
                self._note(message, "sent")
                return
        self.how.failed += 1
        self._note(message, "given up")

    def _note(self, message: Message, outcome: Outcome) -> None:
        self._outcomes[message.flip.id] = outcome
        if len(self._outcomes) > REMEMBERED:
            del self._outcomes[next(iter(self._outcomes))]

    async def _send(self, message: Message) -> None:
        """Raises NotifyError, whatever happens."""
        seconds = self._notifier.seconds
        try:
            async with asyncio.timeout(seconds):
                await self._notifier.send(message)
        except NotifyError:
            raise
        except TimeoutError:
            raise NotifyError(f"nothing came of it within {seconds:g} s") from None
        except Exception as error:  # noqa: BLE001 - guard: what it raises may quote a secret
            raise NotifyError(f"internal error ({where(error)}): please report it") from None

    def _sent(self) -> None:
        if self._failing:
            log.warning("notifier %s works again", self.name)
        self._failing = False
        self.how.sent += 1
        self.how.last_sent_at = iso(self._now())

    def _failed(self, error: str) -> None:
        """The first of a row is logged."""
        if not self._failing:
            log.warning("notifier %s: %s", self.name, error)
        self._failing = True
        self.how.last_error, self.how.last_error_at = error, iso(self._now())
