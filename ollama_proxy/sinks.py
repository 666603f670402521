"""Who is told of each call as it begins and ends: store and statistics, the looks at Ollama.

Not here: who tells (`live.py`), findings (`insights/`), series.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from ollama_proxy.exchange import Call, model_key, ran_model
from ollama_proxy.listeners import Sink
from ollama_proxy.observers.capturing import Captures
from ollama_proxy.phases import Loaded
from ollama_proxy.stats import COLD_SECONDS, Statistics
from ollama_proxy.storage.writer import Writer


@dataclass
class Recorder(Sink):
    """Hands each call to the store's writer and, once it has ended, to the statistics."""

    writer: Writer
    statistics: Statistics
    captures: Captures

    def started(self, call: Call) -> None:
        self.writer.put(call)

    def finished(self, call: Call) -> None:
        self.writer.put(call, self.captures.take(call.id))
        self.statistics.add(call)


@dataclass
class ModelChanges(Sink):
    """Has a fresh look taken at the models when a call has ended that may have changed them, or for
    which one was loaded, be it anew with another context, and when one begins for a model that was
    not seen in memory. While one waits for such a model, also when any other ends: its model may
    make room now."""

    look: Callable[[], None]
    loaded: Callable[[], Loaded]
    paths = frozenset({"/api/create", "/api/copy", "/api/delete", "/api/pull"})
    reasons = frozenset({"load", "unload"})
    _waiting: dict[str, Call] = field(default_factory=dict)

    def started(self, call: Call) -> None:
        if self._unseen(call):
            self._waiting[call.id] = call
            self.look()

    def finished(self, call: Call) -> None:
        self._waiting.pop(call.id, None)
        ran = call.model is not None and ran_model(call.path)
        makes_room = ran and self._one_waits()
        loaded = call.load is not None and call.load >= COLD_SECONDS
        changed = call.path in self.paths or call.done_reason in self.reasons
        if changed or loaded or makes_room:
            self.look()

    def _one_waits(self) -> bool:
        """Whether a call still waits for a model that was not seen in memory."""
        for id, call in list(self._waiting.items()):
            if self._unseen(call):
                return True
            del self._waiting[id]
        return False

    def _unseen(self, call: Call) -> bool:
        """Whether the call runs a model that no look has seen in memory."""
        if call.model is None or not ran_model(call.path):
            return False
        loaded = self.loaded()
        return loaded.names is not None and not loaded.holds(model_key(call.model))
