"""A terminal's keys, one by one and unseen, and the moments at which something is to be done.

Left as it was found, whatever ends the program but SIGKILL. Not here: what a key does (`view.py`).
"""

from __future__ import annotations

import codecs
import contextlib
import os
import re
import select
import signal
import termios
import tty
from types import FrameType, TracebackType
from typing import Any

_NAMED = {
    "\x1b[A": "up",
    "\x1b[B": "down",
    "\x1b[H": "home",
    "\x1b[F": "end",
    "\x1b[1~": "home",
    "\x1b[4~": "end",
    "\x1b[3~": "delete",
    "\x1b[5~": "pageup",
    "\x1b[6~": "pagedown",
    "\r": "enter",
    "\n": "enter",
    "\x7f": "backspace",
    "\x08": "backspace",
    "\x03": "quit",
    "\x04": "quit",
}
# A control sequence (ECMA-48, 5.4), an arrow in application mode, or one character.
_KEY = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]|\x1bO.|[^\x1b]|\x1b(?=\x1b)")
ESCAPE_SECONDS = 0.05
"""After so long an escape is a key of its own, not the beginning of another."""


class Keys:
    """The names of keys from the bytes of a terminal, which may come in pieces of any size."""

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._text = ""

    @property
    def begun(self) -> bool:
        """Whether the rest of a key is to come."""
        return bool(self._text)

    def feed(self, data: bytes) -> list[str]:
        self._text += self._decoder.decode(data)
        found = []
        while (match := _KEY.match(self._text)) is not None:
            self._text = self._text[match.end() :]
            found.append(match[0])
        return [name for text in found if (name := _name(text))]

    def rest(self) -> list[str]:
        """Nothing more comes of what has begun: an escape, and what follows it is not looked at."""
        begun, self._text = self._text, ""
        return ["escape"] if begun else []


def _name(text: str) -> str | None:
    text = text.replace("\x1bO", "\x1b[")
    if text == "\x1b":
        return "escape"
    return _NAMED.get(text) or (text if text.isprintable() else None)


class Terminal:
    """Between `with` and its end keys come one by one, and signals are keys, too."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._keys = Keys()
        self._wake_read, self._wake_write = os.pipe()
        for end in (self._wake_read, self._wake_write):
            os.set_blocking(end, False)
        self._over = False
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Terminal:
        self._saved = termios.tcgetattr(self._fd)
        self._woken_before = signal.set_wakeup_fd(self._wake_write, warn_on_full_buffer=False)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            self._before[number] = signal.signal(number, self._end)
        self._before[signal.SIGWINCH] = signal.signal(signal.SIGWINCH, _nothing)
        tty.setcbreak(self._fd)
        unsuspended = termios.tcgetattr(self._fd)
        unsuspended[6][termios.VSUSP] = b"\0"  # it would leave the shell in this screen
        termios.tcsetattr(self._fd, termios.TCSADRAIN, unsuspended)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(self._woken_before)
        termios.tcsetattr(self._fd, termios.TCSADRAIN, self._saved)

    def wake(self) -> None:
        """From any thread: `keys` returns at once."""
        with contextlib.suppress(BlockingIOError):  # there are enough of them already
            os.write(self._wake_write, b"\0")

    def keys(self, seconds: float) -> list[str]:
        """Those pressed by then; fewer than `seconds` later if something happened."""
        wait = min(seconds, ESCAPE_SECONDS) if self._keys.begun else seconds
        ready, _, _ = select.select([self._fd, self._wake_read], [], [], max(0.0, wait))
        if self._wake_read in ready:
            os.read(self._wake_read, 65536)
        if self._over:
            return ["quit"]
        if self._fd not in ready:
            return self._keys.rest() if not ready else []
        try:
            data = os.read(self._fd, 1024)
        except OSError:
            data = b""
        return self._keys.feed(data) if data else ["quit"]  # the terminal is gone

    def _end(self, number: int, frame: FrameType | None) -> None:
        self._over = True


def _nothing(number: int, frame: FrameType | None) -> None:
    """A signal without a handler would not wake anybody."""
