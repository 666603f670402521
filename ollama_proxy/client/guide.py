"""Four functions for scripts: plain dicts and lists, and nothing where no monitor tells.

Not here: the client with types and errors (`blocking.py`).
"""

from __future__ import annotations

import math
import time
import warnings
from typing import Any

from ollama_proxy.client import asking, errors
from ollama_proxy.client.asking import Ask
from ollama_proxy.client.blocking import Line
from ollama_proxy.rest import ASK_SECONDS

Row = dict[str, Any]


def get_monitor_status(*, url: str | None = None, token: str | None = None) -> Row | None:
    """How the proxy and Ollama are, and the totals; None where no monitor tells."""
    status: Row | None = _told(asking.STATUS, url, token)
    return status


def get_active_requests(*, url: str | None = None, token: str | None = None) -> list[Row]:
    """The running calls, the oldest first; [] where no monitor tells."""
    return _told(asking.ACTIVE, url, token) or []


def get_recent_requests(
    limit: int = 10, *, url: str | None = None, token: str | None = None
) -> list[Row]:
    """The newest calls, those that run among them, at most `limit`; [] where no monitor tells."""
    return _recent(max(limit, 0), url, token)


def get_model_performance(*, url: str | None = None, token: str | None = None) -> dict[str, Row]:
    """Totals and times of each model that was called, by its name; {} where no monitor tells."""
    stats = _told(asking.STATS, url, token)
    return stats["models"] if stats is not None else {}


def _told(ask: Ask[Any], url: str | None, token: str | None) -> Any:
    """The answer as it came, once it was found to be one."""
    line = Line(url, token, ASK_SECONDS)
    try:
        body = line.answer(ask)[1]
        return asking.plain(line.place().admin, body)
    except errors.MonitorError as error:
        _say(error)
        return None


def _recent(limit: int, url: str | None, token: str | None) -> list[Row]:
    """In as many answers as it takes, for as long as that many full ones may take."""
    rows: list[Row] = []
    line = Line(url, token, ASK_SECONDS)
    pages = line.pages(asking.requests(limit, {}))
    until = time.monotonic() + ASK_SECONDS * math.ceil(limit / asking.PAGE)
    try:
        while len(rows) < limit and (page := next(pages, None)) is not None:
            rows += asking.plain(line.place().admin, page[1])
            if len(rows) < limit and time.monotonic() > until:
                _say(errors.MonitorError(f"the calls take too long to tell: here are {len(rows)}"))
                break
    except errors.MonitorError as error:
        _say(error)
        return []
    return rows[:limit]


def _say(error: errors.MonitorError) -> None:
    """That none runs is what the scripts ask about. Anything else is somebody's mistake: a warning,
    shown once a place in the script unless Python is told otherwise."""
    if not isinstance(error, errors.MonitorDown):
        warnings.warn(str(error), errors.MonitorWarning, stacklevel=4)
