"""Whether any of some texts, also long ones, holds what is looked for: step by step. Pure.

While `re` searches, no other thread of the process runs, nor does the event loop: no step may take
long. What is shipped (`secrets.py`) has a bounded reach, so it is looked for in windows. A pattern
of the user's may match over any length and may be slow: it is tried on a beginning of the text,
then on twice as much, and given up where the next step would take too long. One whose time grows
exponentially cannot be helped. Not here: which texts those are (`matching.py`).
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Collection, Iterator

from ollama_proxy.observers.secrets import LONGEST, Finder

WINDOW = 16 * 1024
REACH = 4096
"""Characters past a window in which what begins in it is seen; a web token's head may be long."""
FIRST = 8 * 1024
"""Characters. A step in windows takes some 1 ms, at worst 20."""
SLOW, IN_ALL = 0.3, 2.0
"""Seconds of the processor that a step may take, and a whole search. Of a pattern whose time grows
with the square of the text the last step takes at most four times as long as the one before."""


class TooSlow(Exception):
    """It was given up: nothing is known of the texts."""


def holds(
    texts: Collection[str],
    finders: Collection[Finder],
    timer: Callable[[], float] = time.thread_time,
) -> bool:
    """Whether anything is found. Raises TooSlow."""
    until = timer() + IN_ALL
    for text in texts:
        for finder in finders:
            began = timer()
            for found in _steps(text, finder):
                if found:
                    return True
                now = timer()
                if now - began > SLOW or now > until:
                    raise TooSlow
                began = now
    return False


def _steps(text: str, finder: Finder) -> Iterator[bool]:
    """Whether something was found, after each step."""
    if isinstance(finder, re.Pattern):
        size = FIRST
        while size < len(text):
            finder.search(text, 0, size)  # only to know how long it takes: $ would match the cut
            yield False
            size *= 2
        yield finder.search(text) is not None
        return
    for start in range(0, len(text), WINDOW):
        before = min(start, LONGEST)  # where something begins depends on what stands before it
        window = text[start - before : start + WINDOW + REACH]
        yield any(found.start() >= before for found in finder.finditer(window))
