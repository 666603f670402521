"""What a proxy leaves behind in its folder that nobody needs: files that outlived it, older logs.

What a running proxy holds stays as it is. Not here: the store (`storage/tidying.py`).
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec

from ollama_proxy.handover.link import FILE as CONTROL
from ollama_proxy.logs import KEPT
from ollama_proxy.running import FILE
from ollama_proxy.storage.folder import DATABASE, kept_free

OUTLIVED = (FILE, "running.new", "start.out", CONTROL)
STARTING_SECONDS = 60.0
"""A file this young may belong to a `start` that has not made its process yet."""


class Removed(msgspec.Struct, frozen=True):
    """A file, its size, and why it is not needed; or why it could not be removed."""

    file: str
    bytes: int
    why: str
    error: str | None = None


def outlived(folder: Path, dry: bool, now: Callable[[], float] = time.time) -> list[Removed]:
    """Remove what tells of a proxy that has ended. Raises StoreError where one runs."""
    if not any((folder / name).exists() for name in OUTLIVED):
        return []
    with kept_free(folder / DATABASE):
        old = [folder / name for name in OUTLIVED if _age(folder / name, now()) > STARTING_SECONDS]
        return list(_removed(old, "of a proxy that has ended", dry))


def old_logs(log: Path, dry: bool) -> list[Removed]:
    """Remove the logs that were put aside; the one that is written stays."""
    aside = [log.with_name(f"{log.name}.{number}") for number in range(1, KEPT + 1)]
    return list(_removed([one for one in aside if one.is_file()], "an older log", dry))


def _age(file: Path, now: float) -> float:
    try:
        return now - file.stat().st_mtime
    except OSError:
        return 0.0


def _removed(files: list[Path], why: str, dry: bool) -> Iterator[Removed]:
    for file in files:
        size, error = 0, None
        with contextlib.suppress(OSError):
            size = file.stat().st_size
        try:
            if not dry:
                file.unlink()
        except FileNotFoundError:
            continue
        except OSError as failure:
            error = failure.strerror
        yield Removed(str(file), size, why, error)
