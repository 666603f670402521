"""When the models are looked at out of turn: after what may change them, and before a load."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from ollama_proxy.phases import Loaded
from ollama_proxy.sinks import ModelChanges
from tests.storage.calls import make_call


class Looks:
    def __init__(self, *loaded: str, known: bool = True) -> None:
        self.count = 0
        seen = Loaded.seen(loaded, 0.0) if known else Loaded()
        self.sink = ModelChanges(self.add, lambda: seen)

    def add(self) -> None:
        self.count += 1


@pytest.mark.parametrize(
    ("fields", "looks"),
    [
        ({"path": "/api/pull"}, 1),
        ({"path": "/api/delete", "method": "DELETE"}, 1),
        ({"done_reason": "unload"}, 1),
        ({"done_reason": "load"}, 1),
        ({"done_reason": "stop"}, 0),
        ({"load": 2.5}, 1),
        ({"load": 0.05}, 0),
        ({"path": "/api/tags", "model": None}, 0),
    ],
)
def test_a_call_that_may_have_changed_them_has_them_looked_at(
    fields: dict[str, Any], looks: int
) -> None:
    seen = Looks("llama3")
    seen.sink.finished(make_call(**fields))
    assert seen.count == looks


def test_a_call_for_a_model_that_is_not_in_memory_has_them_looked_at() -> None:
    """It may be loading, and only a look later than the call's start can tell."""
    seen = Looks("llama3")
    for model in ("llama3", "LLAMA3:latest", None):
        seen.sink.started(make_call(state="running", model=model))
    assert seen.count == 0
    seen.sink.started(make_call(state="running", model="other"))
    assert seen.count == 1
    seen.sink.started(make_call(state="running", model="other", path="/api/show"))
    assert seen.count == 1


def test_while_one_waits_for_a_model_each_end_of_another_has_them_looked_at() -> None:
    """The other's model may go now, to make room: only a look right then can tell."""
    seen = Looks("llama3")
    seen.sink.finished(make_call(model="llama3"))
    assert seen.count == 0
    waits = make_call(state="running", model="other")
    seen.sink.started(waits)
    seen.sink.finished(make_call(model="llama3"))
    assert seen.count == 2
    seen.sink.finished(make_call(model="llama3", path="/api/show"))
    assert seen.count == 2
    seen.sink.finished(msgspec.structs.replace(waits, state="cancelled"))
    seen.sink.finished(make_call(model="llama3"))
    assert seen.count == 2


def test_while_nothing_is_known_of_them_nothing_follows() -> None:
    seen = Looks(known=False)
    seen.sink.started(make_call(state="running"))
    assert seen.count == 0
