"""Makes a store small while no proxy uses it: by retention, all at once, and as one compact file.

A running proxy prunes by itself, in short steps, and is never compacted. Not here: retention's
steps (`sqlite.py`), other files of the folder (`cleaning.py`).
"""

from __future__ import annotations

import contextlib
import math
import shutil
import time
from collections.abc import Callable
from pathlib import Path

from ollama_proxy.ids import iso
from ollama_proxy.storage import folder
from ollama_proxy.storage.base import MIGRATIONS
from ollama_proxy.storage.database import check_readable, connect, explained, pragma
from ollama_proxy.storage.errors import StoreError
from ollama_proxy.storage.sqlite import BUSY_SECONDS, SECONDS_A_DAY, SqliteStore

Retention = tuple[float | None, int | None, int | None]
"""Days, bytes and calls, as `Store.prune` takes them."""


def beyond(
    database: Path, retention: Retention, clock: Callable[[], float] = time.time
) -> tuple[int, int]:
    """How many calls retention would delete, those above its bytes estimated; and the bytes of the
    file that hold nothing already. Changes nothing. Raises StoreError."""
    days, most_bytes, most_rows = retention
    with explained(database), contextlib.closing(connect(database, "ro", BUSY_SECONDS)) as store:
        check_readable(store, database, MIGRATIONS)
        page, free = pragma(store, "page_size"), pragma(store, "freelist_count")
        used = (pragma(store, "page_count") - free) * page
        rows = int(store.execute("SELECT count(*) FROM calls").fetchone()[0])
        gone = 0
        if days is not None:
            sql = "SELECT count(*) FROM calls WHERE started_at < ? AND state != 'running'"
            cutoff = iso(clock() - days * SECONDS_A_DAY)
            gone = int(store.execute(sql, (cutoff,)).fetchone()[0])
    if most_rows is not None:
        gone = max(gone, rows - most_rows)
    if most_bytes is not None and used > most_bytes:
        gone = max(gone, math.ceil(rows * (used - most_bytes) / used))
    return gone, free * page


def prune(database: Path, retention: Retention, clock: Callable[[], float] = time.time) -> int:
    """Delete what retention lets go; returns how many calls. Raises StoreError, also where a proxy
    uses the store."""
    store = SqliteStore(database, clock=clock)
    store.open()
    try:
        before = store.holdings().calls
        while store.prune(*retention):
            pass
        return before - store.holdings().calls
    finally:
        store.close()


def compact(database: Path) -> None:
    """Write the file anew without gaps. Raises StoreError: a proxy uses it, or the disk lacks the
    room that this takes meanwhile."""
    lock = folder.claim(database)
    try:
        room, size = shutil.disk_usage(database.parent).free, database.stat().st_size
        if room < 2 * size:  # the new file, and the log by which it takes the old one's place
            raise StoreError(
                f"{database} is not compacted: that takes {2 * size:,} bytes of disk meanwhile, "
                f"{room:,} are free: free some space"
            )
        with explained(database), contextlib.closing(connect(database, "rw", BUSY_SECONDS)) as db:
            db.execute("VACUUM")
            db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    finally:
        folder.release(lock)
