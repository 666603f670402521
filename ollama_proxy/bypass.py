"""Calls that go round the proxy: who talks to Ollama's own port, and models that nobody here used.

Pure; told what was seen, a look at a time. What came and went between two looks is not seen, so the
counts are lower bounds; a model that is kept loaded longer, by no recorded call, gives such calls
away all the same. Not here: looking (`sensors/connections.py`, `sensors/models.py`).
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection, Iterable, Sequence
from typing import Any

import msgspec

from ollama_proxy.exchange import model_key
from ollama_proxy.records import ModelInfo

KEPT = 100
UNKNOWN = "(unknown)"

Ends = tuple[tuple[str, int], tuple[str, int]]
"""A connection: the client's end and Ollama's, each host and port."""


class Seen(msgspec.Struct):
    """How often something was seen, and when first and last (ISO)."""

    count: int = 0
    first_seen: str | None = None
    last_seen: str | None = None


class Bypass:
    """What was seen since the start. `models`: by name; `programs`: by program, connections."""

    def __init__(self) -> None:
        self.programs: OrderedDict[str, Seen] = OrderedDict()
        self.models: OrderedDict[str, Seen] = OrderedDict()
        self._open: set[Ends] = set()

    def new(self, seen: Iterable[Ends], ours: Collection[tuple[str, int]]) -> list[Ends]:
        """Of the connections seen now those that are new and not ours, by their client's end."""
        others = {ends for ends in seen if ends[0] not in ours}
        new = sorted(others - self._open)
        self._open = others
        return new

    def connected(self, program: str | None, now: str) -> None:
        """A new connection was made by this program."""
        _count(self.programs, program or UNKNOWN, now)

    def looked(
        self,
        before: Sequence[ModelInfo],
        after: Sequence[ModelInfo],
        used: Collection[str],
        now: str,
    ) -> None:
        """Compare two looks at the loaded models; `used` are the keys that calls here named since.

        A name may stand for the same file as another, and only one of them is listed as loaded.
        """
        runners = {model_key(model.name): model.runner for model in after}
        explained = {runners[key] for key in used if runners.get(key)}
        known = {model.name: model for model in before if model.loaded}
        for model in after:
            if not model.loaded or model_key(model.name) in used or model.runner in explained:
                continue
            was = known.get(model.name)
            if was is None or (model.expires_at or "") > (was.expires_at or ""):
                _count(self.models, model.name, now)

    def view(self) -> dict[str, Any]:
        """The REST object, latest first."""
        return {
            "programs": _listed(self.programs),
            "models": _listed(self.models),
        }


def _count(counted: OrderedDict[str, Seen], name: str, now: str) -> None:
    seen = counted.pop(name, None) or Seen()
    counted[name] = Seen(seen.count + 1, seen.first_seen or now, now)
    if len(counted) > KEPT:
        counted.popitem(last=False)


def _listed(counted: OrderedDict[str, Seen]) -> list[dict[str, Any]]:
    return [
        {"name": name, **msgspec.structs.asdict(seen)} for name, seen in reversed(counted.items())
    ]
