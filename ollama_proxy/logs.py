"""Log lines: one line an event, and nothing in it that a prompt or a key may have said.

Not here: what is logged, and where to (`cli.py`).
"""

from __future__ import annotations

import logging


class OneLine(logging.Formatter):
    """A log event is one line, whatever a client or a model put into it."""

    def format(self, record: logging.LogRecord) -> str:
        text = super().format(record)
        return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def where(error: BaseException) -> str:
    """An error's type and place. Its text is left out: it may quote a prompt or a key."""
    place, step = "", error.__traceback__
    while step is not None:
        code = step.tb_frame.f_code
        place, step = f" in {code.co_qualname} line {step.tb_lineno}", step.tb_next
    return type(error).__name__ + place
