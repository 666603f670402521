"""What can be asked of a monitor, and how its answers are read. Pure.

Not here: the asking (`blocking.py`, `aio.py`), the types of the answers (`answers.py`, `calls.py`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Generic, TypeVar
from urllib.parse import quote, urlencode

import msgspec

from ollama_proxy.client import errors
from ollama_proxy.client.answers import (
    EVENTS,
    Client,
    Event,
    Finding,
    Health,
    Model,
    Series,
    Stats,
    Status,
)
from ollama_proxy.client.calls import Call, OneCall, RunningCall
from ollama_proxy.headers import INCOMPLETE, SCANNED_TO
from ollama_proxy.rest import Header
from ollama_proxy.sse import Sent

T = TypeVar("T")
PAGE = 200
PAUSE, LONGEST_PAUSE = 0.5, 5.0
_LASTING = (
    errors.MonitorUnauthorized,
    errors.MonitorNotFound,
    errors.MonitorBadParameter,
    errors.NotAMonitor,
)
_NEXT = re.compile(r'<\?([^<>]+)>; rel="next"')


class Ask(msgspec.Struct, Generic[T], frozen=True):
    """A path below the admin's, with its query, and the type of its answer."""

    path: str
    kind: type[T]
    post: bool = False


STATUS = Ask("api/status", Status)
HEALTH = Ask("healthz", Health)
ACTIVE = Ask("api/active", list[RunningCall])
STATS = Ask("api/stats", Stats)
MODELS = Ask("api/models", list[Model])
CLIENTS = Ask("api/clients", list[Client])
EVENT_STREAM = "api/events"


def requests(limit: int | None, filters: Mapping[str, Any]) -> Ask[list[Call]]:
    return Ask(_listed("api/requests", limit, filters), list[Call])


def request(id: str) -> Ask[OneCall]:
    return Ask(f"api/requests/{quote(id, safe='')}", OneCall)


def cancel(id: str) -> Ask[OneCall]:
    return Ask(f"api/requests/{quote(id, safe='')}/cancel", OneCall, post=True)


def insights(limit: int | None, filters: Mapping[str, Any]) -> Ask[list[Finding]]:
    return Ask(_listed("api/insights", limit, filters), list[Finding])


def finding(id: str) -> Ask[Finding]:
    return Ask(f"api/insights/{quote(id, safe='')}", Finding)


def series(filters: Mapping[str, Any]) -> Ask[Series]:
    return Ask(_asked("api/series", filters), Series)


def _listed(path: str, limit: int | None, filters: Mapping[str, Any]) -> str:
    """A page at a time: the client goes on with the next one as far as that is wanted. Raises
    MonitorBadParameter."""
    if limit is not None and limit < 0:
        raise errors.MonitorBadParameter(f"limit={limit}: must be 0 or more, or None for all")
    return _asked(path, {**filters, "limit": PAGE if limit is None else min(limit, PAGE)})


def _asked(path: str, filters: Mapping[str, Any]) -> str:
    said = {name: value for name, value in filters.items() if value is not None}
    return f"{path}?{urlencode(said)}" if said else path


def read(ask: Ask[T], admin: str, body: bytes) -> T:
    """Raises MonitorError for what is no such answer."""
    answer: T = _read(body, ask.kind, admin)
    return answer


def plain(admin: str, body: bytes) -> Any:
    """As dicts and lists, all that is in it. Raises as `read` does."""
    return _read(body, Any, admin)


def following(ask: Ask[list[T]], rows: list[T], header: Header) -> Ask[list[T]] | None:
    """The page after this one of `rows`, if there is one: after an empty one only where a search
    goes on. Only the query is taken from what the answer names."""
    found = _NEXT.fullmatch(header("Link") or "")
    if found is None or not (rows or header(SCANNED_TO)):
        return None
    path = f"{ask.path.partition('?')[0]}?{found[1]}"
    return None if path == ask.path else msgspec.structs.replace(ask, path=path)


def lacking(ask: Ask[Any], header: Header) -> str | None:
    """Why a page may lack calls, if it may."""
    if (why := header(INCOMPLETE)) is not None:
        return errors.line(f"calls may be missing: {why}")
    if "sort=" in ask.path and (end := header(SCANNED_TO)) is not None:
        return errors.line(f"the search took too long: sorted are only the calls from {end} on")
    return None


class Listening:
    """One reader's event stream through breaks: what it heard last, when it is asked anew.

    `admin` is whom it hears; each stream of a proxy begins with a snapshot."""

    def __init__(self) -> None:
        self.last_id: str | None = None
        self._heard = False
        self._pause = PAUSE

    def heard(self, admin: str, sent: Sent) -> Event | None:
        """None: an event of a kind that is not known here. Raises MonitorError as `read` does."""
        self.last_id, self._heard, self._pause = sent.id, True, PAUSE
        if sent.kind not in EVENTS:
            return None
        event: Event = _read(b'{"data":%b}' % sent.data, EVENTS[sent.kind], admin)
        return event

    def lost(self, error: errors.MonitorError) -> float:
        """Seconds to wait before asking anew. Raises the error where that would not help, or where
        nothing was heard yet."""
        if not self._heard or (isinstance(error, _LASTING) and (error.status or 0) < 500):
            raise error
        pause, self._pause = self._pause, min(2 * self._pause, LONGEST_PAUSE)
        return pause


def _read(body: bytes, kind: Any, admin: str) -> Any:
    try:
        return msgspec.json.decode(body, type=kind)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise errors.foreign(admin, str(error)) from error
