"""How often estimates came true."""

from __future__ import annotations

from ollama_proxy.exchange import Call
from ollama_proxy.insights.estimate import Estimate, Spread
from ollama_proxy.insights.predictions import OPEN, PAUSE, Predictions
from tests.storage.calls import make_call

ZERO = Spread(0.0, 0.0)


class World:
    def __init__(self) -> None:
        self.now = 0.0
        self.asked: list[Call] = []
        self.estimate: Estimate | None = Estimate(ZERO, ZERO, ZERO, Spread(2.0, 9.0), 0, 20)
        self.predictions = Predictions(self._estimated, lambda: self.now)

    def _estimated(self, call: Call) -> Estimate | None:
        self.asked.append(call)
        return self.estimate

    def ran(self, seconds: float, state: str = "completed") -> None:
        """A call that was estimated after a quarter of a second."""
        self.now += PAUSE
        call = make_call(state="running", duration=0.25)
        self.predictions.started(call)
        ended = make_call(id=call.id, state=state, duration=0.25 + seconds)
        self.predictions.finished(ended)


def test_the_shares_that_kept_to_it() -> None:
    world = World()
    assert world.predictions.view() == {"calls": 0, "within_p50": None, "within_p95": None}
    for seconds in (1.0, 2.0, 3.0, 10.0):
        world.ran(seconds)
    assert world.predictions.view() == {"calls": 4, "within_p50": 0.5, "within_p95": 0.75}


def test_a_call_that_did_not_complete_tells_nothing() -> None:
    world = World()
    world.ran(1.0, state="cancelled")
    world.estimate = None
    world.ran(1.0)
    assert world.predictions.view()["calls"] == 0


def test_one_a_second_is_estimated_and_each_once() -> None:
    world = World()
    calls = [make_call(state="running") for _ in range(3)]
    for call in calls:
        world.predictions.started(call)
    assert world.asked == calls[:1]
    world.now += PAUSE
    world.predictions.started(calls[0])
    world.predictions.started(calls[1])
    assert world.asked == calls[:2]


def test_calls_that_never_end_are_forgotten() -> None:
    world = World()
    for _ in range(OPEN + 10):
        world.now += PAUSE
        world.predictions.started(make_call(state="running"))
    assert len(world.predictions._open) == OPEN
