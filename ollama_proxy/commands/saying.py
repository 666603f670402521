"""How commands say that nothing happens: one line on standard error, and an exit code.

Not here: what commands print of what they found.
"""

from __future__ import annotations

import sys

USAGE_ERROR = 2
"""The exit code of a wrong setting, as of a wrong flag."""


def refuse(message: str, code: int) -> int:
    """Say why nothing happens; returns the exit code."""
    print(f"ollama-proxy: {message}", file=sys.stderr)
    return code


def printable(text: str) -> str:
    """What others wrote, without what a terminal would obey."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def counted(count: int, one: str, more: str) -> str:
    """A number and its noun."""
    return f"{count} {one if count == 1 else more}"
