"""How commands say that nothing happens: one line on standard error, and an exit code.

Not here: what commands print of what they found.
"""

from __future__ import annotations

import errno
import os
import sys
from typing import TextIO

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""What a disk or a limit that is reached says to who writes."""
USAGE_ERROR = 2
"""The exit code of a wrong setting, as of a wrong flag."""


def refuse(message: str, code: int) -> int:
    """Say why nothing happens; returns the exit code."""
    try:
        print(f"ollama-proxy: {message}", file=sys.stderr, flush=True)
    except OSError as error:
        if error.errno not in FULL:
            raise
        discard(sys.stderr)
    return code


def discard(stream: TextIO | None = None) -> None:
    """What is still to be printed goes nowhere, so that the end of the program does not fail."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), (stream or sys.stdout).fileno())


def printable(text: str) -> str:
    """What others wrote, without what a terminal would obey."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def counted(count: int, one: str, more: str) -> str:
    """A number and its noun."""
    return f"{count} {one if count == 1 else more}"
