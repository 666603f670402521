"""The thread that writes: calls come from the event loop, and go to the store a batch at a time.

`put` never waits and never raises; the lock it takes is never held during I/O. What cannot be
written stays queued, within a bound, and is tried again. Not here: SQL, and what the totals are.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Protocol

from ollama_proxy.exchange import Call, State, text_size
from ollama_proxy.ids import iso
from ollama_proxy.records import Noted
from ollama_proxy.replay import Capture
from ollama_proxy.storage.errors import StoreError

CAPACITY = 20_000
# Of prompts and responses: 64 to 256 MB, by the script they are in; captures come out of it too.
CHARACTERS = 64 << 20
INTERVAL = 0.5
# One transaction: a few ten ms.
BATCH = 1000
PRUNE_SECONDS = 3600.0
# A flood of calls must not fill the disk within the hour.
PRUNE_CALLS = 5000
# What a batch's captures may take to be looked through, but for the one that is being looked at.
LOOK_SECONDS = 2.0
FIRST_RETRY, LAST_RETRY = 0.5, 30.0

log = logging.getLogger(__name__)


class Captured(Protocol):
    """What was captured of a call; `capture` is worked out when it is first asked for."""

    size: int

    @property
    def capture(self) -> Capture | None: ...


class Keeping(Protocol):
    """What a writer needs of a `Store`; see there."""

    def write(
        self,
        calls: Sequence[Call],
        captures: Sequence[Capture] = (),
        noted: Sequence[Noted] = (),
    ) -> None: ...

    def prune(
        self, max_age_days: float | None, max_bytes: int | None, max_rows: int | None = None
    ) -> bool: ...


class Writer:
    """Writes calls to an open store. `start`, then `put` at any time, then `stop`, once.

    `dropped` counts finished calls that were lost: the queue was full, or the row could not be
    stored. Running rows that were left out are not counted: only a crash would show it.
    `error` and `error_since` say what fails and since when (ISO), until it works again.
    """

    def __init__(
        self,
        store: Keeping,
        max_age_days: float | None = None,
        max_bytes: int | None = None,
        max_rows: int | None = None,
        *,
        capacity: int = CAPACITY,
        characters: int = CHARACTERS,
        interval: float = INTERVAL,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], float] = time.time,
    ) -> None:
        self.dropped = 0
        self.error: str | None = None
        self.error_since: str | None = None
        self._store = store
        self._retention = (max_age_days, max_bytes, max_rows)
        self._capacity, self._characters = capacity, characters
        self._interval = interval
        self._clock = clock
        self._now = now
        self._prune_at = clock()
        self._unpruned = 0
        self._no_room = 0  # of `dropped`, those of which the log has not told how many
        self._dropping_since: str | None = None
        self._retry = 0.0
        self._changed = threading.Condition()
        self._writing = threading.Lock()
        # What waits, by id: a finished call takes the place of its running row.
        self._running: dict[str, Call] = {}
        self._finished: dict[str, Call] = {}
        self._captures: dict[str, Captured] = {}  # of calls in `_finished`
        self._held = 0  # characters and bytes of all three
        self._noted: deque[Noted] = deque(maxlen=capacity)
        self._asked = 0
        self._answered = 0
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="store-writer", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def put(self, call: Call, captured: Captured | None = None) -> None:
        """`captured`: of a finished call, to be stored with it where there is room."""
        with self._changed:
            if call.state == State.RUNNING:
                self._put_running(call)
            else:
                self._put_finished(call)
                self._put_capture(call, captured)
            if self.pending in (1, BATCH):
                self._changed.notify_all()

    def note(self, noted: Noted) -> None:
        """What was found out later about a call."""
        with self._changed:
            self._noted.append(noted)
            if len(self._noted) == 1:
                self._changed.notify_all()

    def flush(self, timeout: float) -> bool:
        """Write now what was put so far, and wait for it. False: it failed, or time ran out."""
        with self._changed:
            self._asked += 1
            asked = self._asked
            self._changed.notify_all()
            done = self._changed.wait_for(lambda: self._answered >= asked, timeout)
        return done and self.error is None

    def hold(self) -> None:
        """Wait for the end of what is being written; until `release`, in any thread, no more is."""
        self._writing.acquire()

    def release(self) -> None:
        self._writing.release()

    def stop(self, timeout: float) -> bool:
        """Write what is queued, once, and end the thread. Returns whether all was written."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
        if self._thread.is_alive():
            self._thread.join(timeout)
        return not self.pending and not self._thread.is_alive()

    def capture(self, id: str) -> Capture | None:
        """What waits to be stored of a call."""
        with self._changed:
            captured = self._captures.get(id)
        return None if captured is None else captured.capture

    @property
    def pending(self) -> int:
        """How many calls wait to be written."""
        return len(self._running) + len(self._finished)

    @property
    def unwritten(self) -> list[Call]:
        """Calls that have ended and wait to be written."""
        with self._changed:
            return list(self._finished.values())

    def keep(self, max_age_days: float | None, max_bytes: int | None, max_rows: int | None) -> None:
        """From now on calls are kept as long as that; what is too much is forgotten soon."""
        with self._changed:
            self._retention = (max_age_days, max_bytes, max_rows)
            self._prune_at = self._clock()
            self._asked += 1
            self._changed.notify_all()

    def _put_running(self, call: Call) -> None:
        if call.id not in self._finished and self._fits(call):
            self._take(self._running, call.id)
            self._keep(self._running, call)

    def _put_finished(self, call: Call) -> None:
        if call.id in self._finished:
            return
        self._take(self._running, call.id)
        while self._captures and not self._stopping and not self._fits(call):
            self._drop_capture(next(reversed(self._captures)))
        while self._running and not self._stopping and not self._fits(call):
            self._take(self._running, next(reversed(self._running)))
        if self._fits(call):
            self._keep(self._finished, call)
        else:
            self.dropped += 1
            self._no_room += 1

    def _put_capture(self, call: Call, captured: Captured | None) -> None:
        if captured is None or self._finished.get(call.id) is not call:
            return
        if self._held + captured.size <= self._characters:
            self._captures[call.id] = captured
            self._held += captured.size

    def _drop_capture(self, id: str) -> None:
        captured = self._captures.pop(id, None)
        if captured is not None:
            self._held -= captured.size

    def _fits(self, call: Call) -> bool:
        """Whether there is room, where the call's running row gives up its own."""
        pending, held = self.pending + 1, self._held + text_size(call)
        if call.id in self._running:
            pending, held = pending - 1, held - text_size(self._running[call.id])
        room = pending <= self._capacity and held <= self._characters
        return room and not self._stopping

    def _keep(self, waiting: dict[str, Call], call: Call) -> None:
        waiting[call.id] = call
        self._held += text_size(call)

    def _take(self, waiting: dict[str, Call], id: str) -> None:
        call = waiting.pop(id, None)
        if call is not None:
            self._held -= text_size(call)
            self._drop_capture(id)

    def _run(self) -> None:
        last = False
        while not last:
            last = self._wait()
            self._round(last)

    def _wait(self) -> bool:
        """Until there is something to do. Returns whether this is to be the last time."""
        with self._changed:
            if self._retry:
                self._changed.wait_for(self._is_urgent, self._retry)
            else:
                self._changed.wait_for(
                    lambda: self.pending or self._noted or self._is_urgent(), self._until_prune()
                )
                self._changed.wait_for(
                    lambda: self.pending >= BATCH or self._is_urgent(),
                    min(self._interval, self._until_prune()),
                )
            return self._stopping

    def _is_urgent(self) -> bool:
        return self._stopping or self._asked > self._answered

    def _until_prune(self) -> float:
        return 0.0 if self._unpruned >= PRUNE_CALLS else max(0.0, self._prune_at - self._clock())

    def _round(self, last: bool) -> None:
        """Write what waits now, in short transactions; between two of them a step of pruning."""
        with self._changed:
            asked = self._asked
            calls = [*self._finished.values(), *self._running.values()]
        try:
            for start in range(0, max(1, len(calls)), BATCH):
                with self._writing:
                    self._write(calls[start : start + BATCH])
                if not last and not self._until_prune():
                    self._prune()
        except StoreError as error:
            self._failed(str(error))
        except Exception as error:
            log.exception("the store's writer met an error of its own")
            self._failed(f"internal error ({type(error).__name__}): please report it")
        else:
            self._worked()
        self._tell_dropped(last)
        with self._changed:
            self._answered = asked
            self._changed.notify_all()

    def _tell_dropped(self, last: bool) -> None:
        """A line when dropping begins, and one when all is stored again; not one a call."""
        if self._no_room and self._dropping_since is None:
            self._dropping_since = iso(self._now())
            log.warning("calls are dropped: more wait to be stored than there is room for")
        over = self.error is None and self.pending <= BATCH
        if self._dropping_since is not None and (last or over):
            with self._changed:
                lost, self._no_room = self._no_room, 0
            calls = "call was" if lost == 1 else "calls were"
            log.warning("%s %s dropped since %s", f"{lost:,}", calls, self._dropping_since)
            self._dropping_since = None

    def _write(self, calls: Sequence[Call]) -> None:
        with self._changed:
            waiting = [self._captures[call.id] for call in calls if call.id in self._captures]
        captures = self._looked_through(waiting)
        noted = [self._noted.popleft() for _ in range(len(self._noted))]
        try:
            if calls or noted:
                self._store.write(calls, captures, noted)
        except StoreError:
            self._noted.extendleft(reversed(noted))
            raise
        except Exception:
            if not calls:
                log.exception("what was found out about %d calls cannot be stored", len(noted))
            elif len(calls) > 1:
                self._noted.extendleft(reversed(noted))
                for call in calls:
                    self._write([call])
            elif calls[0].state != State.RUNNING:  # else the row that counts is yet to come
                log.exception("call %s cannot be stored", calls[0].id)
                with self._changed:
                    self.dropped += 1
        self._settle(calls)

    def _looked_through(self, waiting: Sequence[Captured]) -> list[Capture]:
        """Those that may be kept. Calls come first: what there is no time for is left out."""
        until = self._clock() + LOOK_SECONDS
        found = (one.capture for one in waiting if self._clock() < until)
        return [capture for capture in found if capture is not None]

    def _settle(self, calls: Sequence[Call]) -> None:
        """Take out what is stored, but not what has been put anew since."""
        self._unpruned += len(calls)
        with self._changed:
            for call in calls:
                for waiting in (self._running, self._finished):
                    if waiting.get(call.id) is call:
                        self._take(waiting, call.id)

    def _prune(self) -> None:
        if not self._store.prune(*self._retention):
            self._prune_at = self._clock() + PRUNE_SECONDS
            self._unpruned = 0

    def _failed(self, error: str) -> None:
        if self.error is None:
            self.error_since = iso(self._now())
            log.warning("calls are kept in memory for now: %s", error)
        self.error = error
        self._retry = min(max(FIRST_RETRY, 2 * self._retry), LAST_RETRY)

    def _worked(self) -> None:
        if self.error is not None:
            log.warning("calls are stored again")
        self.error = self.error_since = None
        self._retry = 0.0
