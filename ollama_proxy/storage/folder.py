"""The database's folder: made private, held by one proxy at a time, and looked after.

Not here: what is in the database. POSIX only (`flock`).
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import shlex
import time
from collections.abc import Iterator
from pathlib import Path

from ollama_proxy.storage.errors import StoreError

DATABASE = "calls.sqlite3"
LOOKED_AT = 25
"""How often the lock is tried, 20 ms apart: somebody may only look whether it is held."""
MOST_DIGITS = 9
"""Of a process's number: POSIX systems count to some millions."""
Identities = dict[Path, tuple[int, int]]
"""Device and inode of each file."""


def claim(database: Path) -> int:
    """Make the folder (0700) and the file (0600), take the lock. Returns what `release` takes.

    A folder that is there already keeps its mode: it may be a home folder, or shared on purpose.
    """
    try:
        database.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = os.open(lock_file(database), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise unwritable(database, error) from error
    try:
        _take(lock, database)
        _make_private(database)
    except BaseException:
        os.close(lock)
        raise
    return lock


def release(lock: int) -> None:
    # The lock file stays: to unlink it would let two others each hold a lock on a different file.
    os.close(lock)


def claim_handover(database: Path) -> int:
    """Held by the process that gives the folder to another, from before it gives up `claim` until
    that one has taken over: it serves meanwhile. Returns what `release` takes."""
    try:
        lock = os.open(_giving_file(database), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise unwritable(database, error) from error
    try:
        _take(lock, database)
    except BaseException:
        os.close(lock)
        raise
    return lock


def giver(database: Path) -> int | None:
    """The process that gives the folder to another just now. Raises StoreError as `holder`."""
    return _holder(_giving_file(database), database)


@contextlib.contextmanager
def kept_free(database: Path) -> Iterator[None]:
    """No proxy begins to use the folder meanwhile. Raises StoreError where one does already."""
    try:
        lock = os.open(lock_file(database), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise unwritable(database, error) from error
    try:
        _take(lock, database)
        yield
    finally:
        os.close(lock)


def holder(database: Path) -> int | None:
    """The process that holds the folder; None if none does.

    The lock is asked, not a number in a file: it ends with the process, however that ended. The
    number is believed of a process that has the lock open: it may be an older one, or count in a
    container. Raises StoreError where the lock may not be asked, or cannot be told whose it is.
    """
    return _holder(lock_file(database), database)


def _holder(file: Path, database: Path) -> int | None:
    try:
        lock = os.open(file, os.O_RDONLY | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise unreadable(database, error) from error
    try:
        for _ in range(LOOKED_AT):
            try:
                fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except OSError:
                if _has_open(pid := _told_holder(lock), lock):
                    return pid
            else:
                return None
            time.sleep(0.02)  # it may have taken the lock, and not said yet who it is
    finally:
        os.close(lock)
    raise _held_by_unknown(database)


def _held_by_unknown(database: Path) -> StoreError:
    return StoreError(
        f"{database.parent} is in use, but it cannot be told by which process, as with one of a "
        "container: end it where it was started"
    )


def files(database: Path) -> list[Path]:
    """The database and what SQLite keeps beside it, those that exist."""
    return [file for file in _every(database) if file.exists()]


def identities(database: Path) -> Identities:
    """Which files the existing ones are. Raises StoreError."""
    found: Identities = {}
    for file in _every(database):
        try:
            status = file.stat()
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError as error:
            raise unwritable(database, error) from error
        found[file] = status.st_dev, status.st_ino
    return found


def check(database: Path, opened: Identities) -> None:
    """Raise StoreError if a file is not the opened one any more: what is written is lost then.

    SQLite in WAL mode goes on in files that have no name any more, and says nothing.
    """
    present = identities(database)
    for file, identity in opened.items():
        if file not in present:
            raise StoreError(
                f"{file} is gone, deleted or moved while in use: "
                "put it back, or restart the proxy to begin a new one"
            )
        if present[file] != identity:
            raise StoreError(
                f"{file} was replaced by another file while in use: "
                "restart the proxy to go on with that one"
            )


def away(database: Path) -> str:
    """What to do with a database that cannot be used, in half a sentence."""
    to = shlex.quote(str(database.parent / "old"))
    line = f"mkdir {to} && mv {shlex.quote(str(database))}* {to}"
    return f"move it away to begin a new one (ollama-proxy stop, then {line})"


def unreadable(database: Path, error: OSError) -> StoreError:
    return StoreError(
        f"cannot look into {database.parent}: {error.strerror}: ask as the user who runs the "
        "proxy there, or name another folder with --data-dir"
    )


def unwritable(database: Path, error: OSError) -> StoreError:
    if error.errno in (errno.EEXIST, errno.ENOTDIR):
        return StoreError(f"{database.parent} is no folder: choose another with --data-dir")
    return StoreError(
        f"cannot write {database}: {error.strerror}: "
        "give the user who runs the proxy access to this folder, or choose another with --data-dir"
    )


def _every(database: Path) -> list[Path]:
    return [database.with_name(database.name + end) for end in ("", "-wal", "-shm")]


def lock_file(database: Path) -> Path:
    return database.with_name(database.name + ".lock")


def _giving_file(database: Path) -> Path:
    return database.with_name(database.name + ".giving")


def _take(lock: int, database: Path) -> None:
    for left in reversed(range(LOOKED_AT)):
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            break
        except OSError as error:
            if error.errno not in (errno.EWOULDBLOCK, errno.EACCES):
                raise unwritable(database, error) from error
            if not left:
                if not _has_open(pid := _told_holder(lock), lock):
                    raise _held_by_unknown(database) from error
                raise StoreError(
                    f"{database} is in use by another ollama-proxy (process {pid}): stop that "
                    "one, or give this one another folder with --data-dir"
                ) from error
        time.sleep(0.02)
    # Who holds it is only for the message above: a full disk must not stand in the way.
    with contextlib.suppress(OSError):
        os.truncate(lock, os.pwrite(lock, f"{os.getpid()}\n".encode(), 0))


def _told_holder(lock: int) -> int:
    """0 if it is not told."""
    told = os.pread(lock, 20, 0).strip()
    return int(told) if told.isdigit() and len(told) <= MOST_DIGITS else 0


def _has_open(pid: int, lock: int) -> bool:
    """Where a system does not tell, as macOS, a number is believed."""
    if pid <= 0 or not Path("/proc/self/fd").exists():
        return pid > 0
    ours = os.fstat(lock)
    with contextlib.suppress(OSError):  # it has ended, or is another user's
        for file in Path(f"/proc/{pid}/fd").iterdir():
            with contextlib.suppress(OSError):
                if os.path.samestat(file.stat(), ours):
                    return True
    return False


def _make_private(database: Path) -> None:
    try:
        # Only where there is none: closing a file ends each POSIX lock that the process has on it.
        if not database.exists():
            os.close(os.open(database, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        for file in files(database):
            file.chmod(0o600)
    except OSError as error:
        raise unwritable(database, error) from error
