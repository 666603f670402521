"""The command `export`: reads the database, beside a running proxy or without one, and writes.

Not here: flags and exit codes (`cli.py`), what a line looks like (`export.py`).
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from ollama_proxy.export import Format, portions
from ollama_proxy.records import Filter
from ollama_proxy.storage.base import following
from ollama_proxy.storage.sqlite import SqliteStore


def export(database: Path, wanted: Filter, format: Format, out: BinaryIO) -> int:
    """Write the calls, the newest first; returns how many. Raises StoreError and OSError."""
    store = SqliteStore(database)
    store.open_to_read()
    try:
        return _write_pages(store, wanted, format, out)
    finally:
        store.close()


def _write_pages(store: SqliteStore, wanted: Filter, format: Format, out: BinaryIO) -> int:
    """Each page is read by itself: a read that lasted would keep the proxy's log growing."""
    count = 0
    rest: Filter | None = wanted
    out.write(format.head)
    while rest is not None:
        found = store.search(rest)
        for portion in portions(found.calls):
            out.write(format.lines(portion))
        count += len(found.calls)
        rest = following(rest, found)
    out.flush()
    return count


@contextlib.contextmanager
def opened(path: str | None, overwrite: bool) -> Iterator[BinaryIO]:
    """The file to write, this user's alone, as it may hold prompts; None is standard output.

    A new file that could not be written whole is removed. Raises OSError.
    """
    if path is None:
        yield sys.stdout.buffer
        return
    new = not os.path.exists(path)
    how = os.O_TRUNC if overwrite else os.O_EXCL
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | how, 0o600)
    try:
        with open(file, "wb") as out:
            yield out
    except BaseException:
        if new:
            os.unlink(path)
        raise
