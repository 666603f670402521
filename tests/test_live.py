"""What runs, what ended, who is told: the registry, the ring, the bus, and what they withstand."""

from __future__ import annotations

import asyncio
import itertools
import json
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import pytest

from ollama_proxy.bus import (
    ALL_TOLD,
    AT_ONCE,
    EventBus,
    Progress,
    Subscription,
    TooManySubscribers,
    encode,
)
from ollama_proxy.derived import KEYS
from ollama_proxy.endings import Endings
from ollama_proxy.exchange import Call, Exchange, Reason, State, model_key
from ollama_proxy.gaps import Gaps
from ollama_proxy.listeners import Sink
from ollama_proxy.live import SETTLE_AT, SETTLE_SECONDS, TOLD_AT_ONCE, TRANSFERS, Live
from ollama_proxy.phases import Loaded
from ollama_proxy.ticker import Ticker

PATIENCE = 5.0


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Told(Sink):
    """A sink that writes down what it is told."""

    def __init__(self) -> None:
        self.calls: list[Call] = []

    def started(self, call: Call) -> None:
        self.calls.append(call)

    def finished(self, call: Call) -> None:
        self.calls.append(call)


class Raises(Sink):
    def started(self, call: Call) -> None:
        raise ValueError("the prompt was: tell me a secret")

    def finished(self, call: Call) -> None:
        raise ValueError("the prompt was: tell me a secret")


class OnlyEnds(Sink):
    def __init__(self) -> None:
        self.calls: list[Call] = []

    def finished(self, call: Call) -> None:
        self.calls.append(call)


def nothing() -> None:
    pass


@dataclass
class Arrived:
    """A running call, as the forwarder has them."""

    exchange: Exchange
    cancel: Callable[[], None] = nothing
    refresh: Callable[[], None] = nothing
    understand: Callable[[], None] = nothing


def arrived(
    live: Live, cancel: Callable[[], None] = nothing, refresh: Callable[[], None] = nothing
) -> Exchange:
    exchange = Exchange.begin("POST", "/api/chat", "pytest")
    live.start(Arrived(exchange, cancel, refresh))
    return exchange


def begin(live: Live, **observed: Any) -> Exchange:
    exchange = Exchange.begin("POST", "/api/chat", "pytest")
    for name, value in observed.items():
        setattr(exchange.observation, name, value)
    live.start(Arrived(exchange))
    return exchange


def end(live: Live, exchange: Exchange, state: State = State.COMPLETED) -> None:
    exchange.end(state)
    live.finish(exchange)


def ended_call(live: Live, **observed: Any) -> Exchange:
    exchange = begin(live, **observed)
    end(live, exchange)
    return exchange


def long_call(live: Live) -> Exchange:
    """A call that runs long enough for its start to be told."""
    exchange = begin(live)
    live.tell_now()
    end(live, exchange)
    live.settle()
    return exchange


def told(data: bytes) -> list[tuple[str, Any]]:
    """(kind, data) of each event in what a subscription took."""
    events = []
    for block in data.decode().split("\n\n")[:-1]:
        fields = dict(line.split(": ", 1) for line in block.split("\n"))
        events.append((fields["event"], json.loads(fields["data"])))
    return events


async def taken(subscription: Subscription) -> list[tuple[str, Any]]:
    async with asyncio.timeout(PATIENCE):
        assert await subscription.wait()
    return told(subscription.take())


# -- calls ----------------------------------------------------------------------------------


async def test_a_call_is_running_until_it_ends_and_recent_after() -> None:
    live = Live()
    first, second = begin(live, model="a"), begin(live)
    assert [call.id for call in live.active()] == [first.id, second.id]
    assert live.running == 2
    assert live.recent_calls() == []
    end(live, first)
    assert [call.id for call in live.active()] == [second.id]
    (recent,) = live.recent_calls()
    assert (recent.id, recent.state, recent.model) == (first.id, "completed", "a")
    assert live.call(first.id) == recent
    running = live.call(second.id)
    assert running is not None
    assert running.state == "running"
    assert live.call("unknown") is None


async def test_recent_calls_are_newest_end_first_and_limited() -> None:
    live = Live()
    first, second, third = begin(live), begin(live), begin(live)
    for exchange in (second, first, third):
        end(live, exchange)
    assert [call.id for call in live.recent_calls()] == [third.id, first.id, second.id]
    assert [call.id for call in live.recent_calls(2)] == [third.id, first.id]


async def test_the_end_is_told_once_whatever_calls_finish_again() -> None:
    sink = Told()
    live = Live(sinks=[sink])
    exchange = long_call(live)
    live.finish(exchange)
    assert [call.state for call in sink.calls] == ["running", "completed"]
    assert len(live.recent_calls()) == 1
    assert live.endings.totals() == (1, 0)


async def test_a_call_that_nobody_ended_is_recorded_as_failed_here() -> None:
    live = Live()
    live.finish(begin(live))
    (call,) = live.recent_calls()
    assert (call.state, call.reason) == ("failed", Reason.INTERNAL_ERROR)


async def test_the_ring_keeps_the_last_thousand() -> None:
    live = Live()
    ids = [ended_call(live).id for _ in range(1003)]
    assert [call.id for call in live.recent_calls()] == ids[:2:-1]
    assert live.call(ids[0]) is None


async def test_the_ring_is_bounded_by_its_text_too() -> None:
    live = Live(recent_text=100)
    for _ in range(5):
        ended_call(live, prompt="p" * 20, response="r" * 20)
    assert len(live.recent_calls()) == 2
    ended_call(live)
    assert len(live.recent_calls()) == 3


async def test_cancel_reaches_the_call_and_says_whether_it_runs() -> None:
    live, cancelled = Live(), []
    exchange = arrived(live, cancel=lambda: cancelled.append(exchange.id))
    assert live.cancel(exchange.id)
    assert cancelled == [exchange.id]
    end(live, exchange, State.CANCELLED)
    assert not live.cancel(exchange.id)
    assert cancelled == [exchange.id]


async def test_the_bytes_are_looked_at_only_when_asked_and_four_times_a_second() -> None:
    clock, looks = Clock(), []
    live = Live(clock=clock)
    exchange = arrived(live, refresh=lambda: looks.append(clock.now))
    assert looks == []
    for _ in range(10):
        live.active()
        live.call(exchange.id)
        clock.now += 0.125
    assert looks == [1000.0, 1000.25, 1000.5, 1000.75, 1001.0]


async def test_what_a_refresh_finds_is_in_the_answer() -> None:
    live = Live()

    def refresh() -> None:
        exchange.observation.output_chunks = 7

    exchange = arrived(live, refresh=refresh)
    assert live.active()[0].output_chunks == 7


async def test_times_of_the_latest_call() -> None:
    clock = Clock()
    live = Live(clock=clock)
    assert (live.last_started, live.last_busy) == (None, None)
    exchange = begin(live)
    assert (live.last_started, live.last_busy) == (exchange.started_at, 1000.0)
    clock.now = 1030.0
    end(live, exchange)
    assert (live.last_started, live.last_busy) == (exchange.started_at, 1030.0)


# -- sinks (L4) -----------------------------------------------------------------------------


async def test_a_call_that_ends_at_once_is_told_only_as_ended() -> None:
    sink = Told()
    live = Live(sinks=[sink])
    subscription = live.subscribe()
    ended_call(live)
    live.tell_now()
    assert [call.state for call in sink.calls] == ["completed"]
    assert [kind for kind, _ in await taken(subscription)] == ["finished"]
    live.close()


async def test_more_that_is_known_of_a_running_call_is_told_again() -> None:
    sink = Told()
    live = Live(sinks=[sink])
    subscription = live.subscribe()
    call = Arrived(Exchange.begin("POST", "/api/chat", None))
    live.start(call)
    live.tell_now()
    live.tell_now()
    call.exchange.observation.model = "m"
    live.describe(call)
    live.tell_now()
    assert [told.model for told in sink.calls] == [None, "m"]
    end(live, call.exchange)
    live.describe(call)
    live.tell_now()
    assert [told.state for told in sink.calls] == ["running", "running", "completed"]
    # A page knows what runs from one event; what comes later is in "progress".
    assert [kind for kind, _ in await taken(subscription)] == ["started", "finished"]
    live.close()


async def test_a_new_listener_is_no_reason_to_tell_the_others_again() -> None:
    live = Live(progress_interval=PATIENCE)
    first = live.subscribe()
    begin(live)
    live.tell_now()
    assert [kind for kind, _ in await taken(first)] == ["started"]
    for _ in range(5):
        live.subscribe()
    assert first.take() == b""
    live.close()


async def test_after_its_close_nothing_ticks() -> None:
    live = Live(sinks=[Told()])
    live.close()
    ended_call(live)
    assert not ticking(live)
    assert len(live.recent_calls()) == 1


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (0.0, [0, SETTLE_AT, SETTLE_AT, SETTLE_AT]),
        (SETTLE_SECONDS, [0, 1, 2, 3]),
    ],
    ids=["quick", "slow"],
)
async def test_a_flood_of_ends_is_recorded_in_portions(seconds: float, expected: list[int]) -> None:
    sink, passed = OnlyEnds(), itertools.count()
    live = Live(sinks=[sink], clock=lambda: seconds * next(passed))
    for _ in range(SETTLE_AT):
        ended_call(live)
    # First what was written for them is to leave.
    told = [len(sink.calls)]
    for _ in range(3):
        await asyncio.sleep(0)
        told.append(len(sink.calls))
    assert told == expected
    assert len(live.recent_calls()) == len(sink.calls) == SETTLE_AT


async def test_what_is_known_at_the_end_is_worked_out_when_the_record_is_made() -> None:
    sink = OnlyEnds()
    live = Live(sinks=[sink])
    exchange = begin(live)

    def close() -> None:
        exchange.observation.output_tokens = 7
        exchange.end(State.COMPLETED)

    live.finish(exchange, close)
    live.finish(exchange, close)
    assert (exchange.state, live.running) == (State.RUNNING, 0)
    live.settle()
    assert [(call.state, call.output_tokens) for call in sink.calls] == [("completed", 7)]


async def test_an_end_that_cannot_be_worked_out_is_a_failure_and_harms_no_other() -> None:
    live = Live()
    broken, good = begin(live), begin(live)

    def close() -> None:
        raise ValueError("no idea")

    live.finish(broken, close)
    live.finish(good, partial(end, live, good))
    assert [(call.state, call.reason) for call in live.recent_calls()] == [
        ("completed", None),
        ("failed", "internal_error"),
    ]
    assert live.sink_errors == 1


class Lost:
    """A judge that is lost with every call."""

    def __call__(self, call: Call, exchange: Exchange) -> Call:
        raise KeyError("lost")

    def runner(self, name: str) -> str:
        return model_key(name)

    def other_options(self, call: Exchange, served: Exchange | None) -> bool:
        raise KeyError("lost")

    def no_room(self, model: str, other: str) -> bool:
        raise KeyError("lost")

    def has_loaded(self) -> None:
        raise KeyError("lost")


async def test_a_call_that_cannot_be_judged_is_recorded_all_the_same() -> None:
    live = Live(judge=Lost())
    exchange = begin(live, model="m")
    end(live, exchange)
    [call] = live.recent_calls()
    assert (call.model, call.insights, live.sink_errors) == ("m", None, 1)


async def test_many_starts_at_once_are_told_in_portions() -> None:
    """5,000 programs that begin together must not hold the loop while that is told."""
    sink = Told()
    live = Live(sinks=[sink], progress_interval=0.001)
    ids = [begin(live).id for _ in range(2 * TOLD_AT_ONCE + 1)]
    live.tell_now()
    assert [call.id for call in sink.calls] == ids[:TOLD_AT_ONCE]
    async with asyncio.timeout(PATIENCE):
        while len(sink.calls) < len(ids):
            await asyncio.sleep(0.001)
    assert [call.id for call in sink.calls] == ids


async def test_a_sink_that_raises_is_counted_and_harms_nobody(
    caplog: pytest.LogCaptureFixture,
) -> None:
    after = Told()
    live = Live(sinks=[Raises(), after])
    long_call(live)
    long_call(live)
    assert live.sink_errors == 4
    assert len(after.calls) == 4
    assert len(live.recent_calls()) == 2
    assert live.running == 0


async def test_a_sinks_errors_are_logged_once_each_and_without_their_text(
    caplog: pytest.LogCaptureFixture,
) -> None:
    live = Live(sinks=[Raises()])
    for _ in range(5):
        long_call(live)
    assert len(caplog.records) == 2
    assert "Raises.started failed: ValueError in Raises.started line" in caplog.text
    assert "secret" not in caplog.text


async def test_a_sink_without_interest_in_starts_is_asked_nothing_then() -> None:
    records = []

    class Counted(Exchange):
        def record(self) -> Call:
            records.append(super().record())
            return records[-1]

    sink = OnlyEnds()
    live = Live(sinks=[sink])
    exchange = Counted.begin("POST", "/api/chat", None)
    live.start(Arrived(exchange))
    assert records == []
    end(live, exchange)
    assert records == []
    assert live.recent_calls() == sink.calls == records
    assert live.sink_errors == 0


async def test_a_refresh_or_cancel_that_raises_does_not_reach_who_looks() -> None:
    def broken() -> None:
        raise RuntimeError

    live = Live()
    exchange = arrived(live, broken, broken)
    assert len(live.active()) == 1
    assert live.cancel(exchange.id)
    assert live.sink_errors == 2


# -- the bus --------------------------------------------------------------------------------


async def test_start_and_end_are_told_without_what_was_said() -> None:
    live = Live(progress_interval=PATIENCE)
    subscription = live.subscribe()
    exchange = begin(live, model="m", prompt="p", response="r", options={"num_ctx": 8})
    live.tell_now()
    exchange.headers = {"request": [], "response": None}
    exchange.gaps = Gaps(1.0)
    exchange.gaps.add([2.0])
    end(live, exchange)
    live.tell_now()
    (first, started), (second, finished) = await taken(subscription)
    assert (first, second) == ("started", "finished")
    assert list(started) == list(finished) == list(KEYS)
    for call in (started, finished):
        assert (call["prompt"], call["response"], call["options"]) == (None, None, None)
        assert (call["pace"], call["headers"], call["in_force"]) == (None, None, None)
    assert (started["state"], finished["state"], finished["model"]) == ("running", "completed", "m")
    kept = live.recent_calls()[0]
    assert kept.prompt == "p"
    assert kept.pace and kept.headers
    live.close()


def test_nothing_is_encoded_when_nobody_listens() -> None:
    bus = EventBus()
    bus.publish("odd", object())
    bus.subscribe()
    with pytest.raises(TypeError):
        bus.publish("odd", object())


def test_an_event_is_encoded_once_for_all_and_numbered() -> None:
    bus = EventBus()
    one, two = bus.subscribe(), bus.subscribe()
    bus.publish("status", {"a": 1})
    taken = one.take()
    assert two.take() is taken
    assert taken == b'id: 1\nevent: status\ndata: {"a":1}\n\n'
    bus.publish("status", {"a": "x\ny"})
    assert one.take() == b'id: 2\nevent: status\ndata: {"a":"x\\ny"}\n\n'


def test_of_very_many_calls_that_wait_only_what_is_new_is_told_again() -> None:
    """5,000 that wait would else be told of, each with all it says, four times a second."""
    telling = Progress()
    running = [Exchange.begin("POST", "/api/chat", "c") for _ in range(ALL_TOLD + 50)]
    queued = {one.id: {"phase": "queued", "queue_position": n} for n, one in enumerate(running)}
    assert [row["id"] for row in telling.rows(running, queued)] == [one.id for one in running]
    moved = {id: phase | {"queue_position": 7} for id, phase in queued.items()}
    first = [one.id for one in running[:ALL_TOLD]]
    assert [row["id"] for row in telling.rows(running, moved)] == first
    running[-1].response_bytes = 10
    moved[running[-2].id] = {"phase": "reading"}
    told = [row["id"] for row in telling.rows(running, moved)]
    assert told == [*first, running[-2].id, running[-1].id]
    assert len(telling.rows(running[:-1], moved)) == ALL_TOLD


async def test_who_falls_behind_the_log_has_lost_what_was_in_it() -> None:
    bus = EventBus(queue=3)
    slow, quick = bus.subscribe(), bus.subscribe()
    for number in range(5):
        bus.publish("n", number)
        quick.take()
    assert slow.lost
    assert not quick.lost
    slow.renew()
    bus.publish("n", 9)
    assert not slow.lost
    assert await taken(slow) == [("n", 9)]


async def test_who_lost_events_is_woken_for_it() -> None:
    bus = EventBus(queue=1)
    subscription = bus.subscribe()
    bus.publish("n", 1)
    bus.publish("n", 2)
    async with asyncio.timeout(PATIENCE):
        assert await subscription.wait()
    assert subscription.lost


def test_the_log_is_bounded_by_its_bytes_but_one_event_always_fits() -> None:
    bus = EventBus(queue_bytes=100)
    subscription = bus.subscribe()
    bus.publish("n", "x" * 200)
    assert not subscription.lost
    bus.publish("n", "x")
    assert subscription.lost
    subscription.renew()
    bus.publish("n", "x")
    bus.publish("n", "x")
    assert not subscription.lost


async def test_many_small_events_are_taken_in_portions_that_are_bounded() -> None:
    bus = EventBus()
    one, two = bus.subscribe(), bus.subscribe()
    for number in range(30):
        bus.publish("n", str(number) * 4000)
    bus.publish("n", "x" * 10 * AT_ONCE)
    portions: list[bytes] = []
    async with asyncio.timeout(PATIENCE):
        while len(b"".join(portions)) < 10 * AT_ONCE:
            assert await one.wait()
            portions.append(one.take())
    assert len(portions) > 3
    assert max(map(len, portions[:-1])) <= AT_ONCE
    assert [kind for kind, _ in told(b"".join(portions))] == ["n"] * 31
    assert not two.lost
    assert two.take() == portions[0]


def test_what_nobody_waits_for_is_not_kept() -> None:
    bus = EventBus()
    leaving = bus.subscribe()
    bus.publish("n", 1)
    leaving.close()
    assert len(bus._log) == 0
    later = bus.subscribe()
    assert not later.lost
    bus.publish("n", 2)
    assert told(later.take()) == [("n", 2)]


async def test_a_closed_bus_ends_who_waits_and_takes_nobody() -> None:
    live = Live()
    subscription = live.subscribe()
    waiting = asyncio.create_task(subscription.wait())
    await asyncio.sleep(0)
    live.close()
    async with asyncio.timeout(PATIENCE):
        assert await waiting is False
        subscription.take()
        assert await subscription.wait() is False
    assert live.bus.subscribers == 0
    with pytest.raises(TooManySubscribers):
        live.subscribe()
    ended_call(live)


def test_listeners_are_limited_and_leave_room_when_they_go() -> None:
    bus = EventBus(limit=2)
    first, _ = bus.subscribe(), bus.subscribe()
    with pytest.raises(TooManySubscribers):
        bus.subscribe()
    first.close()
    first.close()
    bus.subscribe()
    assert bus.subscribers == 2


def test_text_that_has_no_utf_8_is_told_all_the_same() -> None:
    assert encode({"a": "\ud800\n", "b": 1e30, "c": 10**30}) == (
        b'{"a": "?\\n", "b": 1e+30, "c": 1000000000000000000000000000000}'
    )


async def test_a_call_with_such_text_is_announced() -> None:
    live = Live()
    subscription = live.subscribe()
    begin(live, model="\ud800")
    live.tell_now()
    ((kind, call),) = await taken(subscription)
    assert (kind, call["model"], live.sink_errors) == ("started", "?", 0)
    live.close()


# -- progress -------------------------------------------------------------------------------


async def test_progress_is_told_of_all_running_calls_in_one_event() -> None:
    live = Live(progress_interval=0.001)
    exchanges = begin(live, model="a", output_chunks=3), begin(live)
    exchanges[0].response_bytes = 17
    subscription = live.subscribe()
    (kind, calls), *_ = await taken(subscription)
    assert kind == "progress"
    assert [call["id"] for call in calls] == [exchange.id for exchange in exchanges]
    assert list(calls[0]) == [
        "id",
        "model",
        "duration",
        "output_chunks",
        "response_bytes",
        "time_to_first_token",
        "phase",
        "phase_seconds",
        "phase_estimated",
        "queue_position",
    ]
    assert (calls[0]["model"], calls[0]["output_chunks"], calls[0]["response_bytes"]) == (
        "a",
        3,
        17,
    )
    assert (calls[1]["model"], calls[1]["output_chunks"]) == (None, None)
    live.close()


async def test_progress_is_told_of_calls_that_start_while_somebody_listens() -> None:
    live = Live(progress_interval=0.001)
    subscription = live.subscribe()
    begin(live)
    assert [kind for kind, _ in await taken(subscription)] == ["started", "progress"]
    assert {kind for kind, _ in await taken(subscription)} == {"progress"}
    live.close()


async def test_nothing_ticks_without_listeners_or_without_calls() -> None:
    live = Live(progress_interval=0.001)
    assert not ticking(live)
    exchange = begin(live)
    assert not ticking(live)
    subscription = live.subscribe()
    assert ticking(live)
    end(live, exchange)
    await stopped(live)
    begin(live)
    assert ticking(live)
    subscription.close()
    await stopped(live)


def ticking(live: Live) -> bool:
    return live._ticker._timer is not None


async def stopped(live: Live) -> None:
    async with asyncio.timeout(PATIENCE):
        while ticking(live):
            await asyncio.sleep(0.001)


async def test_a_ticker_goes_on_after_an_error_and_logs_it_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    outcomes = iter(["raise", "raise", "again", "raise", "stop"])
    done = asyncio.Event()

    def work() -> bool:
        outcome = next(outcomes)
        if outcome == "raise":
            raise ValueError
        if outcome == "stop":
            done.set()
        return outcome == "again"

    ticker = Ticker(0.001, work)
    ticker.wake()
    ticker.wake()
    async with asyncio.timeout(PATIENCE):
        await done.wait()
    assert [record.levelno for record in caplog.records] == [logging.ERROR] * 2
    assert f"{work.__qualname__} failed: ValueError" in caplog.records[0].getMessage()
    assert ticker._timer is None


async def test_a_ticker_woken_twice_ticks_once() -> None:
    ticks: list[int] = []
    ticker = Ticker(0.001, lambda: bool(ticks.append(1)))  # type: ignore[func-returns-value]
    ticker.wake()
    ticker.wake()
    for _ in range(20):
        await asyncio.sleep(0.001)
    assert ticks == [1]


# -- counts and bounds ----------------------------------------------------------------------


def test_what_failed_while_ollama_was_down_is_forgotten_once_it_is_up() -> None:
    endings = Endings(lambda: 0.0)
    endings.add(5, 5)
    endings.forget()
    endings.add(1, 0)
    assert endings.totals() == (1, 0)


def test_endings_are_those_of_the_last_five_minutes() -> None:
    clock = Clock()
    endings = Endings(clock)
    for number in range(100):
        endings.add(1, failed=int(number % 4 == 0))
        clock.now += 5
    assert endings.totals() == (58, 14)
    clock.now += 280
    assert endings.totals() == (2, 0)
    clock.now += 10
    assert endings.totals() == (0, 0)
    assert len(endings._slots) == 31


async def test_failures_and_timeouts_count_as_failed_endings() -> None:
    live = Live()
    for state in State:
        if state is not State.RUNNING:
            end(live, begin(live), state)
    assert live.endings.totals() == (5, 2)


async def test_ten_thousand_calls_leave_nothing_behind() -> None:
    """L5, L7: with a listener that never reads."""
    live = Live()
    subscription = live.subscribe()
    states = [State.COMPLETED, State.CANCELLED, State.FAILED]
    for number in range(10_000):
        end(live, begin(live), states[number % 3])
    assert (live.running, len(live.recent_calls())) == (0, 1000)
    assert subscription.lost
    assert len(live.bus._log) == 0
    live.close()
    assert live.bus.subscribers == 0
    assert not ticking(live)


async def test_the_oldest_is_the_least_id_of_what_runs_or_ran_lately() -> None:
    live = Live(recent=1)
    assert live.oldest() is None
    first, second, third = begin(live), begin(live), begin(live)
    assert live.oldest() == first.id
    end(live, second)
    end(live, first)
    assert live.oldest() == first.id
    end(live, third)
    assert live.oldest() == third.id


async def test_a_prefill_far_below_the_models_cold_ones_was_cached() -> None:
    live = Live()
    for model, load, prefill in (
        ("llama3.2", 2.0, 2.5),
        ("llama3.2:latest", 0.003, 2.6),
        ("LLaMA3.2", 0.003, 2.4),
        ("llama3.2", 0.003, 0.1),
        ("other", 0.003, 0.1),
    ):
        end(live, begin(live, model=model, input_tokens=1000, load=load, prefill=prefill))
    end(live, begin(live, model="llama3.2"))
    live.settle()
    known = [call.prefill_cached for call in reversed(live.recent_calls())]
    assert known == [False, None, None, True, None, None]


async def test_ollama_moves_a_model_while_it_loads_or_transfers_one() -> None:
    names: list[str] = []
    live = Live(loaded=lambda: Loaded.seen(names, time.monotonic()))
    for path in sorted(TRANSFERS):
        pull = Exchange.begin("POST", path, "pytest")
        live.start(Arrived(pull))
        assert live.moving_models
        end(live, pull)
    assert not live.moving_models
    exchange = begin(live, model="m")
    assert live.moving_models  # a look later than its start has not found it
    names.append("m")
    assert not live.moving_models
    end(live, exchange)


async def test_what_is_asked_each_few_seconds_looks_at_no_answer() -> None:
    """To look at those of hundreds of streams takes a tenth of a second."""
    looks: list[int] = []
    live = Live(loaded=lambda: Loaded.seen(["m"], time.monotonic()))
    exchange = arrived(live, refresh=lambda: looks.append(1))
    exchange.observation.model = "m"
    arrived(live, refresh=lambda: looks.append(1))
    assert (live.moving_models, live.models) == (False, {"m"})
    assert looks == []


async def test_how_many_calls_wait_for_a_slot_of_their_model() -> None:
    live = Live(loaded=lambda: Loaded.seen(["m"], time.monotonic()))
    calls = [begin(live, model="m") for _ in range(3)]
    begin(live, model="loads")
    assert live.queued == 2
    end(live, calls[0])
    assert live.queued == 1


class Unrecordable(Exchange):
    """A fault of ours."""

    def record(self) -> Call:
        raise ValueError("the prompt was: tell me a secret")


async def test_a_record_that_cannot_be_made_takes_no_other_with_it() -> None:
    told = Told()
    live = Live(sinks=[told])
    for kind in (Exchange, Unrecordable, Exchange):
        exchange = kind.begin("GET", "/api/tags", "pytest")
        live.start(Arrived(exchange))
        end(live, exchange)
    live.settle()
    assert [call.state for call in told.calls] == ["completed", "completed"]
    assert live.sink_errors == 1


async def test_a_start_is_told_with_what_the_request_says() -> None:
    sink = Told()
    live = Live(sinks=[sink])
    exchange = Exchange.begin("POST", "/api/chat", "pytest")

    def understand() -> None:
        exchange.observation.model = "m"

    live.start(Arrived(exchange, understand=understand))
    live.tell_now()
    assert [call.model for call in sink.calls] == ["m"]
