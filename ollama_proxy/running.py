"""The proxy that runs in a data folder: which process it is, and where it answers.

Whether one runs is told by the folder's lock, which ends with its holder however that ended; what
it wrote of itself is believed only while that process holds the lock. Not here: starting and
stopping one (`commands/background.py`).
"""

from __future__ import annotations

import os
from pathlib import Path

import msgspec

from ollama_proxy.rest import Refused, ask
from ollama_proxy.storage.errors import StoreError
from ollama_proxy.storage.folder import DATABASE, giver, holder, lock_file

FILE = "running.json"


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """`url`: where programs reach the proxy, `admin`: its pages, both without a slash at the end.
    `log`: the file that it writes its log to. `flags`: the settings that its command line said, by
    their names. `started_at` is ISO 8601. `service`: systemd started it, and knows of no other."""

    pid: int
    url: str
    admin: str
    version: str
    started_at: str
    log: str | None = None
    flags: dict[str, str] = {}
    service: bool = False


def tell(folder: Path, run: Run) -> None:
    """Write down what runs here now. Raises OSError."""
    prepare(folder, run)
    publish(folder)


def prepare(folder: Path, run: Run) -> None:
    """Write it down, but nobody is to read it yet. Raises OSError, as where the disk is full."""
    with open(os.open(_new(folder), os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as out:
        out.write(msgspec.json.encode(run) + b"\n")


def publish(folder: Path) -> None:
    """What was prepared holds from now on. Raises OSError."""
    _new(folder).replace(folder / FILE)


def _new(folder: Path) -> Path:
    return (folder / FILE).with_suffix(".new")


def ended(folder: Path, pid: int) -> None:
    """Take that away again, if it is this process's own."""
    if (told := _told(folder)) is not None and told.pid == pid:
        (folder / FILE).unlink(missing_ok=True)


class Found(msgspec.Struct, frozen=True):
    """A process that runs; `run` None: it has not said yet where it answers."""

    pid: int
    run: Run | None


def found(folder: Path) -> Found | None:
    """The proxy that runs in this data folder. Raises StoreError as `holder`, and where all speaks
    for one but its lock."""
    database = folder / DATABASE
    # Twice: it may be given, or have been given, between two looks.
    looks = (giver, holder, giver, holder)
    pid = next(filter(None, (look(database) for look in looks)), None)
    if pid is None:
        _miss_lock(folder)
        return None
    told = _told(folder)
    return Found(pid, told if told is not None and told.pid == pid else None)


def _miss_lock(folder: Path) -> None:
    """Raise StoreError where a proxy answers from here whose lock file is gone: nobody can tell
    any more that it is that process, so it is not to be ended, and nothing else to begin."""
    lock, told = lock_file(folder / DATABASE), _told(folder)
    if told is None or lock.exists() or not _answers(told):
        return
    raise StoreError(
        f"process {told.pid} answers at {told.url} as the proxy of {folder}, but its {lock.name} "
        "is gone, deleted or moved while in use: put it back, or end that process yourself "
        f"(kill {told.pid}), then ollama-proxy start"
    )


def _answers(told: Run) -> bool:
    """As a proxy does; also one that asks for its token."""
    try:
        os.kill(told.pid, 0)
        return bool(ask(told.admin, "status")["listen"])
    except Refused as refused:
        return refused.lacks_token
    except (OSError, ValueError, KeyError, TypeError, OverflowError):
        return False


def _told(folder: Path) -> Run | None:
    try:
        return msgspec.json.decode((folder / FILE).read_bytes(), type=Run)
    except (OSError, msgspec.DecodeError):
        return None
