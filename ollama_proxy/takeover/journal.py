"""What a takeover has begun, on disk before it is done: what outlives a crash can be undone.

One file in the data folder, a JSON value a line: the plan, then the name of each step that begins,
at last that it is complete. Locked by whoever acts. Not here: acting (`doing.py`).
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

import msgspec

from ollama_proxy.takeover.plan import Plan

FILE = "takeover.journal"
COMPLETE = b"true"


class Busy(Exception):
    """Another takeover of this folder acts now."""


class Unreadable(Exception):
    """Another version's or user's; its text is one line that says so."""


class Story(msgspec.Struct):
    """`plan` None: no takeover was begun. `begun`: names of steps. `complete`: it is done."""

    plan: Plan | None = None
    begun: list[str] = []
    complete: bool = False


def read(folder: Path) -> Story:
    """What the folder's journal says; nothing, where there is none. Raises Unreadable, OSError."""
    path = folder / FILE
    try:
        with path.open("rb") as file:
            _is_ours(path, file.fileno())
            return _told(path, file.read())
    except (FileNotFoundError, NotADirectoryError):
        return Story()


def _is_ours(path: Path, file: int) -> None:
    """Nobody runs what another user has written there. Raises Unreadable."""
    if os.fstat(file).st_uid != os.geteuid():
        raise Unreadable(f"{path} is another user's: run it as that user")


def _told(path: Path, text: bytes) -> Story:
    lines = text.split(b"\n")[:-1]  # what is behind the last end of a line, a crash cut off
    if not lines:
        return Story()
    try:
        plan = msgspec.json.decode(lines[0], type=Plan)
        begun = [msgspec.json.decode(line, type=str) for line in lines[1:] if line != COMPLETE]
    except msgspec.DecodeError as error:
        says = f"{path} is not understood: undo it by the version that took over"
        raise Unreadable(says) from error
    return Story(plan, begun, COMPLETE in lines)


class Journal:
    """An open one, for who holds it."""

    def __init__(self, path: Path, file: int) -> None:
        self._path, self._file = path, file
        self.story = _told(path, os.pread(file, 1 << 20, 0))

    def begin(self, plan: Plan) -> None:
        os.ftruncate(self._file, 0)  # a crash may have left the beginning of a line
        self._add(msgspec.json.encode(plan))
        self.story = Story(plan)

    def step(self, name: str) -> None:
        """Before it is done."""
        self._add(msgspec.json.encode(name))
        self.story.begun.append(name)

    def complete(self) -> None:
        self._add(COMPLETE)
        self.story.complete = True

    def end(self) -> None:
        """All is as it was before."""
        self._path.unlink(missing_ok=True)
        self.story = Story()

    def _add(self, line: bytes) -> None:
        whole = line + b"\n"
        if os.write(self._file, whole) != len(whole):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self._path))
        os.fsync(self._file)


@contextlib.contextmanager
def held(folder: Path) -> Iterator[Journal]:
    """The folder's journal, made where there is none; nobody else acts meanwhile. Raises Busy,
    Unreadable, OSError."""
    path = folder / FILE
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise Busy from None
        if not path.exists() or not os.path.samestat(os.fstat(file), path.stat()):
            raise Busy  # its holder has just ended it
        _is_ours(path, file)
        journal = Journal(path, file)
        try:
            yield journal
        finally:
            if journal.story.plan is None:
                journal.end()
    finally:
        os.close(file)
