"""Who writes to the database: this process, the next one, or for a moment nobody.

A store's writing side, for the writer. Not here: when it is given (`giving.py`), reads.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Collection, Sequence
from enum import Enum, auto

from ollama_proxy.exchange import Call
from ollama_proxy.handover.link import Done, Link, Records, Refusal
from ollama_proxy.records import Mark, Noted
from ollama_proxy.replay import Capture
from ollama_proxy.series import Gauges
from ollama_proxy.storage.errors import StoreError
from ollama_proxy.storage.sqlite import SqliteStore

GAP_SECONDS = 90.0
"""Longer than anybody may take between giving and taking."""

log = logging.getLogger(__name__)


class _Where(Enum):
    HERE = auto()
    NOWHERE = auto()  # given, but not taken yet
    THERE = auto()
    TO_BE_OPENED = auto()


class Custody:
    """The writing side of `store`, which is open. `unstored`, asked in any thread, tells the ids of
    calls that are not lost, though their rows say that they run."""

    def __init__(self, store: SqliteStore, unstored: Callable[[], Collection[str]]) -> None:
        self._store, self._unstored = store, unstored
        self._where = _Where.HERE
        self._changed = threading.Condition()
        self._opening = threading.Lock()
        self.link: Link | None = None

    def give(self) -> None:
        """Close the database, and give up its lock. Raises StoreError where that cannot be."""
        with self._changed:
            self._where = _Where.NOWHERE
        self._store.close()
        if self._store.is_open:
            self._become(_Where.HERE)
            raise StoreError(f"{self._store.path} cannot be closed now: a write hangs")

    def take_back(self) -> None:
        """It was not taken. What cannot be opened now is tried again at each write."""
        self._become(_Where.TO_BE_OPENED)
        try:
            self._open()
        except StoreError as error:
            log.warning("the database cannot be opened again yet: %s", error)

    def taken(self, link: Link) -> None:
        """From now on what is written goes there."""
        self.link = link
        self._become(_Where.THERE)

    def outlive(self) -> None:
        """Who took it was killed: it is opened here again, if the writer has not done so. Raises
        StoreError."""
        self._lost()
        self._open()

    def write(
        self,
        calls: Sequence[Call],
        captures: Sequence[Capture] = (),
        noted: Sequence[Noted] = (),
    ) -> None:
        """As a store does; while nobody has it, this waits."""
        with self._changed:
            self._changed.wait_for(lambda: self._where is not _Where.NOWHERE, GAP_SECONDS)
        if self._where is _Where.THERE and self.link is not None:
            try:
                self.link.ask(Records(list(calls), list(captures), list(noted)), Done)
                return
            except (OSError, Refusal) as error:
                log.warning("the proxy that took over has ended (%s): calls are stored here", error)
                self.link.close()
                self._lost()
        self._open()
        self._store.write(calls, captures, noted)

    def gauge(self, gauges: Sequence[tuple[int, Gauges]]) -> None:
        """Not sent on: the next process takes samples of its own."""
        if self._where is not _Where.THERE:
            self._store.gauge(gauges)

    def mark(self, marked: Sequence[Mark]) -> None:
        """As `gauge`."""
        if self._where is not _Where.THERE:
            self._store.mark(marked)

    def prune(
        self, max_age_days: float | None, max_bytes: int | None, max_rows: int | None = None
    ) -> bool:
        if self._where is not _Where.HERE:
            return False
        return self._store.prune(max_age_days, max_bytes, max_rows)

    def _lost(self) -> None:
        with self._changed:
            if self._where is _Where.THERE:
                self._where = _Where.TO_BE_OPENED

    def _open(self) -> None:
        with self._opening:
            if self._where is _Where.TO_BE_OPENED:
                self._store.open(self._unstored())
                self._become(_Where.HERE)

    def _become(self, where: _Where) -> None:
        with self._changed:
            self._where = where
            self._changed.notify_all()
