"""Whether running calls wait so long that the status names it, and behind whom."""

from __future__ import annotations

from typing import Any

from ollama_proxy.exchange import Exchange
from ollama_proxy.waiting import LONG_SECONDS, Waiting, long_waits


def running(client: str | None, model: str = "m", path: str = "/api/chat") -> Exchange:
    exchange = Exchange.begin("POST", path, client)
    exchange.observation.model = model
    return exchange


def told(*calls: tuple[Exchange, str, float]) -> Waiting | None:
    """Of calls, each with its phase and for how long it is in it."""
    phases: dict[str, Any] = {
        one.id: {"phase": phase, "phase_seconds": seconds} for one, phase, seconds in calls
    }
    return long_waits([one for one, _, _ in calls], phases)


def test_those_that_are_queued_wait_behind_who_is_served() -> None:
    served = (running("nightly.py"), "answering", 200.0)
    beside = (running("other.py", "other"), "answering", 300.0)
    waits = [(running("signals.py", "m:latest"), "queued", 120.0 - at) for at in range(6)]
    assert told(beside, served, *waits) == Waiting(6, 120.0, "nightly.py")


def test_of_several_that_are_served_the_one_with_most_calls_is_named() -> None:
    served = [(running(name), "reading", 20.0) for name in ("a.py", "b.py", "b.py")]
    waits = (running("c.py"), "queued", 20.0)
    assert told(*served, waits) == Waiting(1, 20.0, "b.py")
    assert told(served[1], served[0], waits) == Waiting(1, 20.0, "b.py")  # it came first


def test_who_waits_to_load_a_model_waits_behind_who_is_served_by_another() -> None:
    served = (running("nightly.py", "other"), "answering", 90.0)
    assert told(served, (running("a.py"), "waiting_to_load", 30.0)) == (
        Waiting(1, 30.0, "nightly.py")
    )
    assert told(served, (running("a.py"), "loading", 30.0)) is None


def test_whoever_only_asks_of_a_model_keeps_nobody_waiting() -> None:
    shows = (running("ui.py", path="/api/show"), "working", 30.0)
    assert told(shows, (running(None), "answering", 30.0), (running("a"), "queued", 15.0)) == (
        Waiting(1, 15.0, None)
    )


def test_short_waits_are_not_named() -> None:
    served = (running("a.py"), "answering", 90.0)
    assert told(served, (running("b.py"), "queued", LONG_SECONDS - 0.1)) is None
    assert told(served, (running("b.py"), "reading", 90.0)) is None
    assert told() is None
