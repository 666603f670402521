"""What all calls together may hold of lines and objects whose end has not come.

What one call's record can hold at most, in bytes, while the call runs:

- an unfinished line, or an answer that is one object: 64 KiB (`FREE`), beyond that up to 8 MiB
  (`lines.LINE_LIMIT`) as far as `CALLS` has room; the last line, until it is known to be the last,
  the same again;
- the last of a stream that was passed over: 64 KiB and a block (`passed.MOST`);
- pieces of the answer not looked at yet: 16 KiB (`tap.BLOCK`), in pieces of a few bytes 512 KiB;
- the request: 256 KiB (`base.REQUEST_LIMIT`), until it is read;
- of an error's body, or of an answer in numbers: 64 KiB; what inflates a body: about 64 KiB;
- texts: what the privacy mode keeps, a million characters each (at most 4 MB) of prompt and answer
  in `full` and `hash` (`privacy.FULL_LIMIT`); 16 names of tools, the ids of 1024 tool calls.

Not here: what is done with a line that finds no room (`lines.py`).
"""

from __future__ import annotations

FREE = 64 * 1024
"""Bytes that every call may hold uncounted: no line that came in one piece is longer."""


class Budget:
    """How many bytes may be held, and how many are."""

    __slots__ = ("held", "limit")

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.held = 0


CALLS = Budget(64 * 1024 * 1024)
"""That of all calls of this process; an observer's class names the one it uses."""


class Holding:
    """What one holder has of a budget."""

    __slots__ = ("_budget", "size")

    def __init__(self, budget: Budget) -> None:
        self._budget = budget
        self.size = 0

    def resize(self, size: int) -> bool:
        """Hold `size` bytes from now on. False: there is no room for them, and nothing is held."""
        budget = self._budget
        counted = size if size > FREE else 0
        others = budget.held - self.size
        fits = counted == 0 or others + counted <= budget.limit
        self.size = counted if fits else 0
        budget.held = others + self.size
        return fits
