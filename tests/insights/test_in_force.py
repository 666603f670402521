"""Which options held for a call: what a model was loaded with stays, the rest is unknown."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from ollama_proxy.exchange import Exchange
from ollama_proxy.insights.judging import Judging
from ollama_proxy.records import ModelInfo
from ollama_proxy.sketch import sketch
from tests.storage.calls import make_call

MOMENTS = itertools.count(100.0, 100.0)
TRAINED = ModelInfo(name="m:latest", trained_context=8192)


def held(
    judging: Judging, load: float | None = 0.002, path: str = "/api/chat", **fields: Any
) -> dict[str, Any] | None:
    """What held for the next call, which loaded its model for so many seconds."""
    known: dict[str, Any] = {"model": "m", "input_tokens": 20, "output_tokens": 5}
    call = make_call(path=path, **known | {"load": load} | fields)
    exchange = Exchange.begin("POST", path, None)
    exchange.started = next(MOMENTS)
    exchange.observation.asked = call.options
    exchange.observation.sketch = sketch([("user", "Hi")], True)
    return judging(call, exchange).in_force


@pytest.fixture
def judging() -> Judging:
    judging = Judging()
    judging.looked([TRAINED], 1.0)
    return judging


def test_of_a_model_that_was_loaded_before_nothing_is_known(judging: Judging) -> None:
    assert held(judging) is None
    assert held(judging, options={"temperature": 1.0}) is None


def test_a_context_is_at_most_what_the_model_was_made_for(judging: Judging) -> None:
    for asked, took in ((4096, 4096), (100_000, 8192)):
        assert held(judging, options={"num_ctx": asked}) == {"num_ctx": took}
    # Of which that is not known, it is not known what Ollama took.
    assert held(Judging(), options={"num_ctx": 4096}) is None


def test_what_a_model_was_loaded_with_stays_until_it_is_loaded_again(judging: Judging) -> None:
    first = {"num_gpu": 12, "keep_alive": "10m"}
    assert held(judging, load=3.0, options=first) == {"num_gpu": 12, "keep_alive": 600.0}
    assert held(judging) == {"num_gpu": 12, "keep_alive": 600.0}
    assert held(judging, options={"keep_alive": -1}) == {"num_gpu": 12, "keep_alive": -1.0}
    assert held(judging, path="/api/embed", output_tokens=None) == {
        "num_gpu": 12,
        "keep_alive": -1.0,
    }
    # Loaded without: Ollama chose the layers, and its own keep_alive is not known here.
    assert held(judging, load=3.0) == {"num_gpu": None}


@pytest.mark.parametrize(
    "between",
    [
        {"path": "/v1/chat/completions", "load": None},
        {"state": "cancelled"},
        {"state": "cancelled", "options": {"num_gpu": 5, "keep_alive": "1h"}},
        {"state": "failed", "options": {"num_gpu": 7}},
    ],
)
def test_what_may_have_loaded_it_again_leaves_nothing_known(
    judging: Judging, between: dict[str, Any]
) -> None:
    assert held(judging, load=3.0, options={"num_gpu": 12}) == {"num_gpu": 12}
    assert held(judging, **{"load": None} | between) is None
    assert held(judging) is None
