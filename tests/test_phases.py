"""Which phase a running call is in, and how many calls a model serves at once."""

from __future__ import annotations

from ollama_proxy.exchange import Exchange, State, model_key
from ollama_proxy.phases import Loaded, Phases, Slots

SEEN = Loaded.seen(["m:latest"], 50.0)
NOTHING = Loaded.seen([], 50.0)


def running(at: float, path: str = "/api/chat", **known: object) -> Exchange:
    exchange = Exchange.begin("POST", path, None)
    exchange.started = at
    exchange.observation.model = "m"
    for name, value in known.items():
        owner = exchange if hasattr(exchange, name) else exchange.observation
        setattr(owner, name, value)
    return exchange


def names(*calls: Exchange, loaded: Loaded = SEEN) -> list[str]:
    found = [phase.name for phase in Phases().of(calls, loaded, 60.0).values()]
    assert Phases().queued(calls, loaded) == found.count("queued")
    return found


def test_what_has_passed_is_certain() -> None:
    thinking = running(40.0, first_byte=41.0, first_token=41.0)
    answering = running(40.0, first_byte=41.0, first_token=41.0, first_answer=45.0)
    phases = Phases().of([thinking, answering], SEEN, 60.0)
    told = [(one.name, one.since, one.estimated) for one in phases.values()]
    assert told == [("thinking", 41.0, False), ("answering", 45.0, False)]


def test_one_is_read_and_the_others_are_queued_in_their_order() -> None:
    phases = Phases().of([running(40.0), running(41.0), running(42.0)], SEEN, 60.0)
    told = [(one.name, one.position, one.estimated) for one in phases.values()]
    assert told == [("reading", None, True), ("queued", 1, True), ("queued", 2, True)]


def test_of_many_that_wait_some_answer_and_some_run_no_model() -> None:
    calls = [running(40.0 + number, model=("m", "M:latest")[number % 2]) for number in range(6)]
    calls[0].first_byte, calls[0].status_code = 55.0, 200
    calls[3].first_byte, calls[3].status_code = 55.0, 200
    calls.insert(2, running(41.5, path="/api/show"))
    assert names(*calls) == [
        "answering",
        "queued",
        "working",
        "queued",
        "answering",
        *["queued"] * 2,
    ]


class Known:
    """A copy is run as m, and there is no room for that beside big. Calls that ask for a `num_ctx`
    ask for other options."""

    loads = 0

    def runner(self, name: str) -> str:
        return model_key("m" if "copy" in name else name)

    def other_options(self, call: Exchange, served: Exchange | None) -> bool:
        loaded = None if served is None else served.observation.asked
        return call.observation.asked != loaded

    def no_room(self, model: str, other: str) -> bool:
        return {model, other} == {"m:latest", "big:latest"}

    def has_loaded(self) -> None:
        self.loads += 1


def told(*calls: Exchange, loaded: Loaded = SEEN) -> list[str]:
    found = [phase.name for phase in Phases(Known()).of(calls, loaded, 60.0).values()]
    waiting = found.count("queued") + found.count("waiting_to_load")
    assert Phases(Known()).queued(calls, loaded) == waiting
    return found


def test_who_asks_for_other_options_waits_while_the_model_is_in_use_and_is_overtaken() -> None:
    answers = running(40.0, first_byte=41.0, first_token=41.0, first_answer=45.0, status_code=200)
    other = running(42.0, asked={"num_ctx": 1024})
    late = running(43.0)
    phases = Phases(Known()).of([answers, other, late], SEEN, 60.0)
    assert [(one.name, one.position, one.estimated) for one in phases.values()] == [
        ("answering", None, False),
        ("waiting_to_load", None, True),
        ("queued", 1, True),  # not behind the one that waits
    ]
    assert told(other) == ["loading"]  # nobody uses it any more
    assert told(answers, running(42.0)) == ["answering", "queued"]


def test_once_a_call_that_loaded_is_answered_that_is_told_once() -> None:
    known = Known()
    phases = Phases(known)
    plain, other = running(40.0), running(42.0, asked={"num_ctx": 1024})
    for answered, loads in ((None, 0), (55.0, 1), (55.0, 1)):
        other.first_byte = plain.first_byte = answered
        phases.of([other], SEEN, 60.0)
        assert known.loads == loads
    phases.of([plain], SEEN, 60.0)
    assert known.loads == 1


def test_who_was_answered_last_tells_with_which_options_a_model_is_loaded() -> None:
    asked = {"num_ctx": 1024}
    answers = running(40.0, first_byte=41.0, status_code=200, asked=asked)
    assert told(answers, running(42.0, asked=asked)) == ["answering", "queued"]
    refused = running(40.0, first_byte=41.0, status_code=400, asked=asked)
    assert told(refused, running(42.0, asked=asked)) == ["answering", "waiting_to_load"]


def test_calls_of_models_that_are_run_as_one_have_one_queue() -> None:
    calls = [running(40.0), running(41.0, model="copy"), running(42.0)]
    assert told(*calls) == ["reading", "queued", "queued"]
    assert Phases(Known()).queued(calls, SEEN) == 2
    assert told(*calls, loaded=Loaded.seen(["copy"], 50.0)) == ["reading", "queued", "queued"]


def test_where_there_is_no_room_beside_a_model_in_use_its_calls_are_waited_for() -> None:
    big = Loaded.seen(["big"], 50.0)
    answers = running(40.0, model="big", first_byte=41.0, status_code=200)
    assert told(answers, running(42.0), loaded=big) == ["answering", "waiting_to_load"]
    assert told(running(42.0), loaded=big) == ["loading"]
    assert told(running(41.0, model="big"), running(42.0), loaded=big) == [
        "reading",
        "waiting_to_load",
    ]
    assert told(running(41.0, model="big"), running(42.0), loaded=NOTHING) == ["loading"] * 2
    other = running(40.0, model="third", first_byte=41.0, status_code=200)
    assert told(other, running(42.0), loaded=big) == ["answering", "loading"]
    assert told(answers, running(42.0), loaded=Loaded()) == ["answering", "waiting"]


def test_other_models_and_other_routes_take_no_slot() -> None:
    other = running(40.0, model="other:7b")
    both = Loaded.seen(["m", "OTHER:7b"], 50.0)
    show = running(40.0, path="/api/show")
    assert names(other, show, running(41.0), loaded=both) == ["reading", "working", "reading"]


def test_a_model_that_a_later_look_did_not_find_is_loading() -> None:
    assert names(running(40.0), loaded=NOTHING) == ["loading"]
    # The look was before the call: it may be loaded by now.
    assert names(running(51.0), loaded=NOTHING) == ["waiting"]
    assert names(running(40.0), loaded=Loaded()) == ["waiting"]
    assert names(running(40.0, model=None), loaded=NOTHING) == ["waiting"]


def test_a_model_that_answers_now_is_loaded_whatever_a_look_found() -> None:
    """Else those that wait would seem to load it, and looks wait for a load's end."""
    answering = running(40.0, first_byte=55.0, status_code=200)
    assert names(answering, running(41.0), loaded=NOTHING) == ["answering", "queued"]
    refused = running(40.0, first_byte=55.0, status_code=404)
    assert names(refused, running(41.0), loaded=NOTHING) == ["answering", "loading"]


def test_what_is_not_streamed_works_until_it_is_there() -> None:
    assert names(running(40.0, streamed=False)) == ["working"]


def test_a_phase_lasts_from_when_it_was_seen_first() -> None:
    phases = Phases()
    first, second = running(40.0), running(41.0)
    assert phases.of([first, second], SEEN, 60.0)[second.id].since == 41.0
    assert phases.of([first, second], SEEN, 61.0)[second.id].since == 41.0
    first.ended = 62.0
    phases.ended(first)
    assert (phases.of([second], SEEN, 63.0)[second.id]).since == 63.0
    told = phases.of([second], SEEN, 64.0)[second.id]
    assert (told.name, told.since) == ("reading", 63.0)


def test_slots_are_the_most_that_were_served_at_once() -> None:
    slots = Slots()
    for ended, served in ((10.0, 5.0), (11.0, 5.0), (12.0, 0.5), (30.0, 1.0)):
        slots.add("m", ended, served)
    assert slots.of("m") == 2
    slots.add("m", 30.2, 0.8)
    slots.add("m", 30.3, 0.9)
    assert slots.of("m") == 3
    assert slots.of("other") == 1


def test_calls_one_after_the_other_use_one_slot() -> None:
    slots = Slots()
    for end in range(1, 100):
        slots.add("m", float(end), 1.0)
    assert slots.of("m") == 1


def test_calls_one_right_after_the_other_are_not_served_at_once() -> None:
    """The end of each is seen a little late, and the next seems to have begun before it."""
    slots = Slots()
    for number in range(20):
        slots.add("m", 0.1 * number + 0.001 * (number % 3), 0.1)
    assert slots.of("m") == 1


def test_an_ended_call_teaches_the_slots() -> None:
    phases = Phases()
    for at in (20.0, 20.5):
        exchange = running(10.0, prefill=1.0, decode=2.0)
        exchange.end(State.COMPLETED)
        exchange.ended = at
        phases.ended(exchange)
    calls = [running(40.0), running(41.0), running(42.0)]
    assert [one.name for one in phases.of(calls, SEEN, 60.0).values()] == [
        *("reading", "reading", "queued"),
    ]
    assert phases.queued(calls, SEEN) == 1


def test_made_up_models_are_bounded() -> None:
    slots = Slots()
    for number in range(2000):
        slots.add(f"made-up-{number}", 10.0, 1.0)
        slots.add(f"made-up-{number}", 10.0, 1.0)
    assert len(slots._served) == 500


def test_a_model_that_has_just_served_a_call_is_loaded() -> None:
    """A look comes each ten seconds: the first call's end tells of the load before it does."""
    phases = Phases()
    first = running(51.0, prefill=0.1, decode=0.2)
    first.ended = 52.0
    phases.ended(first)
    told = phases.of([running(53.0), running(54.0)], NOTHING, 60.0)
    assert [one.name for one in told.values()] == ["reading", "queued"]
    assert phases.queued([running(53.0), running(54.0)], NOTHING) == 1
    later = Loaded.seen([], 53.5)
    told = phases.of([running(53.0)], later, 60.0)
    assert [one.name for one in told.values()] == ["loading"]
