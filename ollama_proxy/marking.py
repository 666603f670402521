"""Keeps what changed in Ollama: after each look, in a thread, and again where the store fails.

Not here: what a change is (`marks.py`), SQL.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence

from ollama_proxy.logs import where
from ollama_proxy.marks import MAX_KNOWN, Marks
from ollama_proxy.records import Mark, UpstreamHealth

log = logging.getLogger(__name__)


class Marking:
    """`looked` after each look, on the event loop; `write` stores, and may raise."""

    def __init__(
        self,
        marks: Marks,
        write: Callable[[Sequence[Mark]], None],
        now: Callable[[], float] = time.time,
    ) -> None:
        self._marks, self._write, self._now = marks, write, now
        self._unsaved: deque[Mark] = deque(maxlen=MAX_KNOWN + 1)
        self._writing: asyncio.Task[None] | None = None
        self._failing = False

    @property
    def changed(self) -> Mapping[str, str]:
        """When a model's digest last changed (ISO), by its name."""
        return self._marks.changed

    def looked(self, health: UpstreamHealth) -> None:
        self._unsaved.extend(self._marks.looked(health, self._now()))
        if self._unsaved and (self._writing is None or self._writing.done()):
            self._writing = asyncio.create_task(self._save(), name="marks")

    async def stop(self) -> None:
        """Wait for what is being written."""
        if self._writing is not None:
            await asyncio.wait([self._writing])

    async def _save(self) -> None:
        saving = list(self._unsaved)
        try:
            await asyncio.to_thread(self._write, saving)
        except Exception as error:  # noqa: BLE001 - guard: background loop
            if not self._failing:
                log.warning("a change in Ollama could not be stored yet: %s", where(error))
            self._failing = True
            return
        self._failing = False
        for mark in saving:
            if self._unsaved and self._unsaved[0] is mark:
                self._unsaved.popleft()
