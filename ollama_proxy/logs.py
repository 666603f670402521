"""Log lines: one line an event, and nothing in it that a prompt or a key may have said.

Not here: what is logged.
"""

from __future__ import annotations

import logging
import os
from datetime import UTC, datetime
from logging.handlers import RotatingFileHandler
from pathlib import Path

import msgspec

MOST_BYTES = 5_000_000
KEPT = 3
"""Older files beside the one that is written: `….log.1` is the youngest of them."""
_HUMAN = "%(asctime)s %(levelname)s %(message)s"


def one_line(text: str) -> str:
    """A text with all that is not printed escaped, line ends and direction marks included."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


class OneLine(logging.Formatter):
    """A log event is one line, whatever a client or a model put into it."""

    def format(self, record: logging.LogRecord) -> str:
        return one_line(super().format(record))


class JsonLine(logging.Formatter):
    """The same as an object: `at` (ISO 8601, UTC), `level`, `logger`, `message`."""

    def format(self, record: logging.LogRecord) -> str:
        at = datetime.fromtimestamp(record.created, UTC)
        event = {
            "at": at.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        return msgspec.json.encode(event).decode()


def log_to(file: Path | None, form: str, level: str) -> None:
    """From now on events go there; files are private (0600) and of bounded size.

    Raises OSError if the file cannot be written.
    """
    handler: logging.Handler = logging.StreamHandler()
    if file is not None:
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        handler = _Private(file, maxBytes=MOST_BYTES, backupCount=KEPT, encoding="utf-8")
    handler.setFormatter(JsonLine() if form == "json" else OneLine(_HUMAN))
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)


class _Private(RotatingFileHandler):
    def _open(self):  # type: ignore[no-untyped-def]
        stream = open(  # noqa: SIM115 - the handler closes it
            self.baseFilename, self.mode, encoding=self.encoding, opener=_private
        )
        os.fchmod(stream.fileno(), 0o600)  # one that was there already
        return stream


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def where(error: BaseException) -> str:
    """An error's type and place. Its text is left out: it may quote a prompt or a key."""
    place, step = "", error.__traceback__
    while step is not None:
        code = step.tb_frame.f_code
        place, step = f" in {code.co_qualname} line {step.tb_lineno}", step.tb_next
    return type(error).__name__ + place
