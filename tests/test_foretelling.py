"""What a call will take: of calls that run and that ran, with a real `Live`."""

from __future__ import annotations

from typing import Any

import pytest

from ollama_proxy.exchange import Exchange, State
from ollama_proxy.foretelling import Asked, Foretelling, in_service
from ollama_proxy.insights.judging import Judging
from ollama_proxy.live import Live
from ollama_proxy.phases import Loaded
from ollama_proxy.sketch import sketch
from tests.test_live import Arrived

PROMPT = sketch([("user", "x" * 1000)], True)


class World:
    def __init__(self) -> None:
        self.judging = Judging(running=lambda: in_service(self.live))
        self.live = Live(judge=self.judging)
        self.told = Foretelling(self.judging, self.live, lambda: Loaded.seen(["m"], 0.0))

    def begin(self, **seen: Any) -> Exchange:
        exchange = Exchange.begin("POST", "/api/chat", "a.py", named=True)
        for name, value in {"model": "m", "sketch": PROMPT, **seen}.items():
            setattr(exchange.observation, name, value)
        self.live.start(Arrived(exchange))
        return exchange

    def ran(self, count: int) -> None:
        """Calls of six seconds, one after the other."""
        spans = {"prefill": 1.0, "decode": 5.0, "input_tokens": 250, "output_tokens": 50}
        for number in range(count):
            exchange = self.begin(**spans, total=6.0, load=0.001)
            exchange.ended = exchange.started + 6.0 * (number + 1)
            exchange.end(State.COMPLETED)
            self.live.finish(exchange)
        self.live.settle()


async def test_one_that_runs_is_waited_for() -> None:
    world = World()
    assert world.told.now(Asked("m")) is None
    world.ran(10)
    free = world.told.now(Asked("m", client="a.py"))
    assert free is not None and (free.queue.p50, round(free.total.p50, 3), free.ahead) == (0, 6, 0)
    world.begin(output_chunks=25)
    found = world.told.now(Asked("m:latest"))
    assert found is not None
    assert (round(found.queue.p50, 3), round(found.total.p50, 3), found.ahead) == (2.5, 8.5, 1)


async def test_a_running_call_waits_for_those_before_it() -> None:
    world = World()
    world.ran(10)
    first, second = world.begin(), world.begin()
    first.started -= 0.5
    ahead = [world.told.of(one.record()) for one in (first, second)]
    assert [one and one.ahead for one in ahead] == [0, 1]
    second.end(State.CANCELLED)
    world.live.finish(second)
    assert world.told.of(second.record()) is None


async def test_what_a_running_call_has_taken_is_taken_off() -> None:
    world = World()
    world.ran(10)
    first = world.begin()
    first.started -= 0.75
    found = world.told.of(first.record())
    assert found is not None and 0.2 < found.first_token.p50 < 0.26
    first.started -= 0.75
    assert world.told.of(first.record()) is None, "none of the past calls took that long"


async def test_a_call_that_tells_nothing_before_its_end_may_be_writing() -> None:
    world = World()
    world.ran(10)
    running = world.begin(streamed=False)
    running.started -= 3.0
    found = world.told.of(running.record())
    assert found is not None
    assert (found.first_token.p50, round(found.total.p50, 1)) == (0.0, 3.0)


async def test_who_came_later_and_ended_does_not_begin_its_time_anew() -> None:
    world = World()
    world.ran(10)
    world.judging._slots = lambda model: 4
    running = world.begin()
    running.started -= 0.75
    later = world.begin(prefill=0.01, decode=0.01, input_tokens=9, output_tokens=2)
    later.end(State.COMPLETED)
    world.live.finish(later)
    world.live.settle()
    found = world.told.of(running.record())
    assert found is not None and found.first_token.p50 < 0.3


async def test_only_time_in_service_is_taken_off() -> None:
    world = World()
    world.ran(10)
    first, second = world.begin(), world.begin()
    first.started -= 5.5
    second.started -= 5.0
    found = world.told.of(second.record())
    assert found is not None and found.first_token.p50 == pytest.approx(7.0, abs=0.1)
    # The first has just ended: from now on the second is served.
    spans = {"prefill": 1.0, "decode": 5.0, "input_tokens": 250, "output_tokens": 50}
    for name, value in spans.items():
        setattr(first.observation, name, value)
    first.end(State.COMPLETED)
    world.live.finish(first)
    world.live.settle()
    found = world.told.of(second.record())
    assert found is not None and found.first_token.p50 == pytest.approx(1.0, abs=0.1)


async def test_no_more_is_read_than_the_context_that_a_running_call_asked_for() -> None:
    world = World()
    world.ran(10)
    huge = sketch([("user", "x" * 100_000)], True)
    running = world.begin(sketch=huge, asked={"num_ctx": 500})
    found = world.told.of(running.record())
    assert found is not None and found.first_token.p50 == pytest.approx(2.0, abs=0.1)


async def test_only_what_runs_a_model_is_ahead_and_also_what_has_just_ended() -> None:
    world = World()
    pull = Exchange.begin("POST", "/api/pull", "a.py")
    pull.observation.model = "m"
    world.live.start(Arrived(pull))
    assert list(in_service(world.live)) == []
    exchange = world.begin()
    exchange.end(State.COMPLETED)
    world.live.finish(exchange)
    assert [one.model for one in in_service(world.live)] == ["m"]
    world.live.settle()
    assert list(in_service(world.live)) == []
