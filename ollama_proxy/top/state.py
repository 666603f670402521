"""What a proxy has told so far, by its events and its lists. Pure.

Not here: how that is asked for (`feed.py`), how it is shown (`view.py`).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import Any

Row = dict[str, Any]
RATE_SECONDS = 4.0
"""The span over which a call's rate is taken: long enough for a few pieces of a slow model."""


class State:
    """`calls` are those that run, by id. `trouble`: why what is shown is not of now, or None."""

    def __init__(self) -> None:
        self.status: Row = {}
        self.calls: dict[str, Row] = {}
        self.models: list[Row] = []
        self.clients: list[Row] = []
        self.findings: list[Row] = []
        self.trouble: str | None = None
        self._pieces: dict[str, deque[tuple[float, int]]] = {}

    def apply(self, kind: str, data: Any) -> None:
        """One event of the stream; those that are not known say nothing."""
        if kind == "snapshot":
            self.status = data["status"]
            self.calls, self._pieces = {}, {}
            for row in data["active"]:
                self._began(row)
        elif kind == "status":
            self.status = data
        elif kind == "started":
            self._began(data)
        elif kind == "progress":
            for row in data:
                if row["id"] in self.calls:
                    self.calls[row["id"]] |= row
                    self._note(row)
        elif kind == "finished":
            self.calls.pop(data["id"], None)
            self._pieces.pop(data["id"], None)

    def rate(self, id: str) -> float | None:
        """Tokens a second of a running call, lately; pieces of its stream are taken for tokens."""
        pieces = self._pieces.get(id)
        if pieces and pieces[-1][0] > pieces[0][0]:
            (began, before), (now, after) = pieces[0], pieces[-1]
            return (after - before) / (now - began)
        call = self.calls[id]
        first, count = call.get("time_to_first_token"), call.get("output_chunks")
        if first is None or not count or count < 2 or call["duration"] <= first:
            return None
        return float((count - 1) / (call["duration"] - first))

    @property
    def rates(self) -> float:
        """Of all calls together."""
        return sum(self.rate(id) or 0.0 for id in self.calls)

    def _began(self, row: Row) -> None:
        self.calls[row["id"]] = dict(row)
        self._note(row)

    def _note(self, row: Row) -> None:
        if row.get("time_to_first_token") is None or row.get("duration") is None:
            return
        pieces = self._pieces.setdefault(row["id"], deque())
        pieces.append((row["duration"], row.get("output_chunks") or 0))
        while len(pieces) > 2 and pieces[-1][0] - pieces[1][0] >= RATE_SECONDS:
            pieces.popleft()


def loaded(models: Iterable[Row]) -> list[Row]:
    """Those in memory, the busiest first."""
    held = [one for one in models if one.get("loaded")]
    return sorted(held, key=lambda one: (-one["active"], one["name"]))


def latest(clients: Iterable[Row]) -> list[Row]:
    """Clients, those with running calls first, then who called last."""
    newest = sorted(clients, key=lambda one: one.get("last_used") or "", reverse=True)
    return sorted(newest, key=lambda one: -one["active"])
