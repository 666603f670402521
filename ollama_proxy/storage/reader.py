"""The open store as the event loop asks it: what is stored, and how the writing goes.

Not here: what is asked of both (`admin/history.py`), SQL.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

from ollama_proxy.charts import Asked, columns
from ollama_proxy.exchange import Call
from ollama_proxy.records import Filter, Finding, Flip, Mark, Occurrence
from ollama_proxy.replay import Capture
from ollama_proxy.storage.base import Found
from ollama_proxy.storage.sqlite import SqliteStore
from ollama_proxy.storage.writer import Writer

A = TypeVar("A")
R = TypeVar("R")


@dataclass
class StoreReader:
    """The store's reads, off the event loop, and away from the threads that look up host names."""

    store: SqliteStore
    writer: Writer
    threads: ThreadPoolExecutor

    async def search(self, wanted: Filter) -> Found:
        return await self._read(self.store.search, wanted)

    async def oldest(self, wanted: Filter) -> str | None:
        return await self._read(self.store.oldest, wanted)

    async def call(self, id: str) -> Call | None:
        return await self._read(self.store.call, id)

    async def capture(self, id: str) -> Capture | None:
        return await self._read(self._capture, id)

    async def marks(self, wanted: Filter) -> list[Mark]:
        return await self._read(self.store.marks, wanted)

    async def flips(self, wanted: Filter) -> list[Flip]:
        return await self._read(self.store.flips, wanted)

    async def findings(self, wanted: Filter) -> list[Finding]:
        return await self._read(self.store.findings, wanted)

    async def finding(self, id: str) -> Finding | None:
        return await self._read(self.store.finding, id)

    async def waits(self, call: str) -> list[Occurrence]:
        return await self._read(self.store.waits, call)

    async def series(self, asked: Asked) -> dict[str, Any]:
        return await self._read(self._series, asked)

    def interrupt(self) -> None:
        self.store.interrupt()

    def _capture(self, id: str) -> Capture | None:
        return self.writer.capture(id) or self.store.capture(id)

    def _series(self, asked: Asked) -> dict[str, Any]:
        return columns(asked, self.store.series(asked))

    async def _read(self, reading: Callable[[A], R], asked: A) -> R:
        return await asyncio.get_running_loop().run_in_executor(self.threads, reading, asked)


@dataclass
class StorageStatus:
    """How the writing goes; the files' size is read at most each ten seconds."""

    writer: Writer
    store: SqliteStore
    _size: int | None = None
    _read_at: float = float("-inf")

    @property
    def dropped(self) -> int:
        return self.writer.dropped

    @property
    def error(self) -> str | None:
        return self.writer.error

    @property
    def error_since(self) -> str | None:
        return self.writer.error_since

    @property
    def size_bytes(self) -> int | None:
        now = time.monotonic()
        if now - self._read_at > 10:
            self._read_at = now
            try:
                self._size = self.store.size_bytes()
            except OSError:
                self._size = None
        return self._size
