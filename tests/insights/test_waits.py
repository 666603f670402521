"""Who waits for whom: shares that add up, once all who may have been in service have ended."""

from __future__ import annotations

import random

import pytest

from ollama_proxy.insights.waits import (
    AT_ONCE,
    PATIENCE,
    REMEMBERED,
    SHORTEST,
    Hidden,
    Span,
    Wait,
    Waits,
)

MODEL = "m:latest"


def ended(
    waits: Waits,
    call: str,
    *,
    served: tuple[float, float],
    came: float | None = None,
    model: str = MODEL,
    client: str | None = None,
    read: tuple[float, float] | None = None,
) -> None:
    waited = None if came is None else Span(came, served[0])
    reading = None if read is None else Span(*read)
    name = client or f"{call}.py"
    waits.ended(model, call, name, served=Span(*served), read=reading, waited=waited)


def told(
    waits: Waits, oldest: float | None = None, now: float = 100.0, slots: int = 1
) -> list[Wait]:
    running = {} if oldest is None else {MODEL: oldest}
    return waits.shared_out(running, now, most=REMEMBERED, slots=lambda model: slots)


def test_few_are_shared_out_at_once() -> None:
    waits = Waits()
    for number in range(2 * AT_ONCE + 1):
        ended(waits, str(number), came=number - 1, served=(number, number + 1))
    counts = [len(waits.shared_out({}, 100.0)) for _ in range(4)]
    assert counts == [AT_ONCE, AT_ONCE, 1, 0]


def test_a_wait_is_put_down_to_the_call_before() -> None:
    waits = Waits()
    ended(waits, "a", served=(0, 10))
    ended(waits, "b", came=2, served=(10, 12))
    [wait] = told(waits)
    assert (wait.call, wait.seconds, wait.blamed) == ("b", 8, {"a.py": 8})
    assert told(waits) == []


def test_two_that_are_served_at_once_share_it() -> None:
    waits = Waits()
    ended(waits, "a", served=(0, 6))
    ended(waits, "c", came=1, served=(6, 9))
    ended(waits, "b", served=(0, 10))
    blamed = {wait.call: wait.blamed for wait in told(waits)}
    assert blamed == {"c": pytest.approx({"a.py": 2.5, "b.py": 2.5})}


def test_a_wait_while_a_slot_is_free_is_none_of_the_queue() -> None:
    waits = Waits()
    ended(waits, "a", served=(0, 6))
    ended(waits, "b", served=(4, 9))
    ended(waits, "c", came=1, served=(6, 10))
    [wait] = told(waits, slots=2)
    assert wait.busy == pytest.approx({"a.py": 3})  # from 1 to 4 a alone: its prompt was read
    assert wait.blamed == pytest.approx({"a.py": 1, "b.py": 1})


def test_a_runner_is_busy_with_those_whose_prompt_it_reads() -> None:
    waits = Waits()
    ended(waits, "a", served=(0, 9), read=(0, 1))
    ended(waits, "b", served=(2, 9), read=(2, 6))
    ended(waits, "c", came=1, served=(7, 10))
    [wait] = told(waits, slots=4)
    # From 1 to 2 and from 6 to 7 nothing was read: of those in service.
    assert wait.busy == pytest.approx({"a.py": 1.5, "b.py": 4.5})
    assert wait.blamed == {}


def test_a_wait_until_a_model_can_be_loaded_anew_is_for_all_who_use_it() -> None:
    waits = Waits()
    ended(waits, "a", served=(0, 10))
    hidden = Hidden(Span(1, 10), frozenset([MODEL]), "reload")
    waits.ended(MODEL, "b", "b.py", served=Span(11, 12), hidden=hidden)
    [wait] = told(waits, slots=2)
    assert (wait.loading, wait.reason, wait.blamed, wait.busy) == ({"a.py": 9}, "reload", {}, {})


def test_a_wait_until_others_have_made_room_is_for_their_calls() -> None:
    waits = Waits()
    ended(waits, "a", served=(0, 10), model="other")
    ended(waits, "c", served=(0, 6), model="third")
    hidden = Hidden(Span(2, 10), frozenset(["other"]), "room")
    waits.ended(MODEL, "b", "b.py", served=Span(11, 12), waited=Span(10.5, 11), hidden=hidden)
    assert waits.shared_out({"other": 1.0}, 100.0) == []  # one of those still runs
    [wait] = told(waits)
    assert (wait.loading, wait.reason, wait.blamed) == ({"a.py": 8}, "room", {})
    assert wait.seconds == 8.5


def test_who_still_runs_may_have_been_in_service() -> None:
    waits = Waits()
    ended(waits, "a", served=(0, 6))
    ended(waits, "c", came=1, served=(6, 9))
    assert told(waits, oldest=0.5) == []
    ended(waits, "b", served=(0.5, 20))
    [wait] = told(waits, oldest=7.0)  # came after the wait
    assert wait.blamed == pytest.approx({"a.py": 2.5, "b.py": 2.5})


def test_a_call_that_never_ends_is_not_waited_for_forever() -> None:
    waits = Waits()
    ended(waits, "a", served=(0, 6))
    ended(waits, "c", came=1, served=(6, 9))
    assert told(waits, oldest=0.5, now=6 + PATIENCE - 1) == []
    assert len(told(waits, oldest=0.5, now=6 + PATIENCE)) == 1


def test_seconds_in_which_nobody_was_served_are_nobodys() -> None:
    waits = Waits()
    ended(waits, "a", served=(0, 4))
    ended(waits, "b", came=2, served=(10, 12))
    [wait] = told(waits)
    assert (wait.seconds, wait.blamed) == (8, {"a.py": 2})


def test_when_each_model_ended_its_last_call_in_a_time() -> None:
    waits = Waits()
    ended(waits, "a", served=(0, 10))
    ended(waits, "b", served=(3, 30))
    ended(waits, "c", served=(2, 8), model="other")
    assert waits.ends(Span(4, 12)) == {MODEL: 10, "other": 8}
    assert waits.ends(Span(8, 12)) == {MODEL: 10}
    assert waits.ends(Span(11, 13)) == {}


def test_other_models_have_queues_of_their_own() -> None:
    waits = Waits()
    ended(waits, "a", served=(0, 10), model="other")
    ended(waits, "b", came=2, served=(10, 12))
    [wait] = told(waits)
    assert wait.blamed == {}


def test_what_is_short_is_no_wait() -> None:
    waits = Waits()
    ended(waits, "a", served=(0, 10))
    ended(waits, "b", came=10 - SHORTEST / 2, served=(10, 12))
    assert told(waits) == []


def test_shares_add_up_to_the_wait_whatever_ran_beside() -> None:
    drawn = random.Random(3)
    waits, clock = Waits(), [0.0] * 3
    for number in range(200):
        slot = clock.index(min(clock))
        came = max(0.0, clock[slot] - drawn.random() * 5)
        begun = clock[slot]
        clock[slot] = begun + drawn.random() * 4
        ended(waits, str(number), came=came, served=(begun, clock[slot]), client=f"{slot}.py")
    found = told(waits, now=1e6)
    assert len(found) > 100
    for wait in found:
        assert sum(wait.blamed.values()) == pytest.approx(wait.seconds)


def test_it_remembers_no_more_than_it_may() -> None:
    waits = Waits()
    for number in range(2 * REMEMBERED):
        ended(waits, str(number), came=number - 1, served=(number, number + 1))
    assert len(told(waits, oldest=-1.0, now=0.0)) == 0
    assert len(told(waits, now=1e9)) == REMEMBERED
    assert waits.previous_end(MODEL, 1e9) == 2 * REMEMBERED
    assert waits.previous_end("other", 1e9) is None
