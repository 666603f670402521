"""A call's insights, from its record and what an observer saw of its request."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from ollama_proxy.exchange import Call, Exchange
from ollama_proxy.insights.judging import MOST_LOOKS, Judging
from ollama_proxy.insights.occurring import occurrences
from ollama_proxy.insights.serving import Running
from ollama_proxy.records import FINDINGS, ModelInfo, Noted, Occurrence
from ollama_proxy.sketch import sketch
from tests.storage.calls import make_call

LONG = "The quick brown fox jumps over the lazy dog near the river bank. " * 400


SHORT: dict[str, Any] = {"prefill": 0.5, "decode": 0.5}


def judged(
    judging: Judging | None = None,
    *,
    prompt: str = LONG,
    path: str = "/api/chat",
    ended: float = 10.0,
    **fields: Any,
) -> tuple[Call, dict[str, Any]]:
    """A call that ended at that second, and what is said of it."""
    known: dict[str, Any] = {"model": "m", "input_tokens": 1026, "output_tokens": 5}
    call = make_call(path=path, **known | fields)
    exchange = Exchange.begin("POST", path, None)
    exchange.started, exchange.ended = ended - (call.duration or 0.0), ended
    exchange.observation.sketch = sketch([("user", prompt)], True)
    exchange.observation.asked = call.options
    call = (judging or Judging())(call, exchange)
    return call, call.insights or {}


def test_a_cut_prompt_is_told_with_what_it_lost() -> None:
    _, found = judged(options={"num_ctx": 2048})
    cut = found["prompt_cut"]
    assert (cut["cut"], cut["rule"], cut["estimated"], cut["context"]) == (True, "half", True, 2048)
    assert 3000 < cut["tokens_lost"] < 6000


def test_without_a_known_context_it_is_said_that_it_cannot_be_told() -> None:
    _, found = judged()
    assert found["prompt_cut"] == {
        "cut": None,
        "tokens_lost": None,
        "estimated": False,
        "rule": None,
        "context": None,
    }


def test_the_context_of_a_call_that_names_none_comes_from_a_look() -> None:
    judging = Judging(clock=lambda: 1.0)
    judged(judging, prompt="hello", input_tokens=10)
    judging.looked([ModelInfo(name="m:latest", loaded=True, context_length=2048)], 2.0)
    assert judged(judging)[1]["prompt_cut"]["cut"] is True
    # /v1 cannot ask for one: what stands there is not Ollama's.
    _, found = judged(judging, path="/v1/chat/completions", options={"num_ctx": 65_536})
    assert found["prompt_cut"]["context"] == 2048


def test_a_look_is_asked_for_while_the_context_is_not_known() -> None:
    looks: list[int] = []
    judging = Judging(look=lambda: looks.append(1))
    judged(judging, options={"num_ctx": 2048})
    assert looks == []
    for _ in range(2 * MOST_LOOKS):
        judged(judging)
    assert len(looks) == MOST_LOOKS


def test_what_runs_no_prompt_has_no_insights() -> None:
    assert judged(path="/api/embed")[1] == {}
    assert judged(model=None)[1] == {}
    assert judged(input_tokens=None)[1] == {}


def test_an_overrun_counts_where_the_context_is_known() -> None:
    options = {"num_ctx": 256}
    _, found = judged(prompt="hi", input_tokens=30, output_tokens=400, options=options)
    assert found["overrun"] == {"shifts": 2, "ended": None, "context": 256}
    most = {"num_ctx": 256, "num_predict": 500}
    _, found = judged(
        prompt="hi", input_tokens=30, output_tokens=226, options=most, done_reason="length"
    )
    assert found["overrun"]["ended"] == "context"


def occurred(insights: dict[str, Any] | None, **fields: Any) -> list[Occurrence]:
    return list(occurrences(make_call(insights=insights, **fields)))


def test_only_what_costs_something_is_an_occurrence() -> None:
    cut = {"cut": False, "tokens_lost": None, "estimated": False, "rule": "half", "context": 2048}
    assert occurred(None) == occurred({}) == occurred({"prompt_cut": cut}) == []
    cut |= {"cut": True, "tokens_lost": 500, "estimated": True}
    assert occurred({"prompt_cut": cut}, input_tokens=1026) == [
        Occurrence(kind="prompt_cut", tokens=500, needed=1526, estimated=True)
    ]
    over = {"shifts": 2, "ended": "ceiling", "context": 256}
    found = occurred({"overrun": over}, input_tokens=30, output_tokens=2560, decode=9.0)
    assert [(one.kind, one.tokens, one.seconds) for one in found] == [
        ("context_overrun", 2334, None),
        ("ceiling", 2560, 9.0),
    ]
    full = occurred({"overrun": {"shifts": 0, "ended": "context", "context": 256}})
    assert [one.kind for one in full] == ["context_full"]
    assert {one.kind for one in [*found, *full]} < set(FINDINGS)


def test_a_reload_is_told_with_its_cause_and_the_options_that_differ() -> None:
    judging = Judging()
    judged(judging, client="a.py", options={"num_ctx": 4096}, load=1.0)
    _, found = judged(judging, client="b.py", options={"num_ctx": 8192}, load=1.5, ended=20.0)
    assert found["reload"] == {
        "cause": "options",
        "seconds": 1.5,
        "changed": {"num_ctx": [4096, 8192]},
        "by": "a.py",
    }
    [one] = occurred({"reload": found["reload"]})
    assert (one.kind, one.other, one.detail, one.values, one.seconds) == (
        "reload_options",
        "a.py",
        "num_ctx",
        "num_ctx 4096 → 8192",
        1.5,
    )


def test_options_are_written_as_a_request_has_them() -> None:
    changed = {"use_mmap": [None, False], "num_thread": [2, None]}
    reload = {"cause": "options", "seconds": 1.0, "changed": changed, "by": None}
    [one] = occurred({"reload": reload})
    assert one.detail == "use_mmap, num_thread"
    assert one.values == "use_mmap \u2013 → false, num_thread 2 → \u2013"


def test_a_model_that_another_one_put_out_is_named() -> None:
    judging = Judging(clock=lambda: 1.0)
    judged(judging, load=1.0)
    judging.looked([ModelInfo(name="m", loaded=True)], 11.0)
    judged(judging, model="other:1b", load=1.0, ended=20.0)
    judging.looked([ModelInfo(name="other:1b", loaded=True)], 21.0)
    _, found = judged(judging, load=1.0, ended=30.0)
    [one] = occurred({"reload": found["reload"]})
    assert (one.kind, one.other, one.detail) == ("reload_evicted", None, "other:1b")


def test_an_embedding_model_puts_another_one_out_too() -> None:
    judging = Judging(clock=lambda: 1.0)
    judged(judging, load=1.0)
    judging.looked([ModelInfo(name="m", loaded=True)], 11.0)
    _, nothing = judged(judging, model="bge", path="/api/embed", load=1.0, ended=20.0)
    assert nothing == {}
    judging.looked([ModelInfo(name="bge", loaded=True)], 21.0)
    _, found = judged(judging, load=1.0, ended=30.0)
    assert (found["reload"]["cause"], found["reload"]["by"]) == ("evicted", "bge:latest")


def test_two_names_of_a_model_share_what_is_loaded() -> None:
    judging = Judging(clock=lambda: 1.0)
    names = ["m:latest", "copy:latest"]
    judging.looked([ModelInfo(name=name, digest="sha256:1") for name in names], 1.0)
    judged(judging, load=1.0, client="a.py", options={"num_ctx": 4096})
    _, found = judged(
        judging, model="copy", load=1.0, client="b.py", options={"num_ctx": 8192}, ended=20.0
    )
    assert (found["reload"]["cause"], found["reload"]["by"]) == ("options", "a.py")


def test_models_of_one_file_share_a_runner_and_no_context() -> None:
    """A variant with a longer context of its own: each of the two has the other loaded anew."""
    noted: list[Noted] = []
    clock = [1.0]
    judging = Judging(note=noted.append, clock=lambda: clock[0])
    small = ModelInfo(name="m:latest", digest="1", weights="f", loaded=True, context_length=4096)
    large = ModelInfo(name="large:latest", digest="2", weights="f")
    judged(judging, client="a.py", ended=1.0)
    judging.looked([small, large], 2.0)
    judged(judging, model="large", client="b.py", ended=2.5)
    clock[0] = 3.0
    large = msgspec.structs.replace(large, loaded=True, context_length=8192)
    judging.looked([msgspec.structs.replace(small, loaded=False), large], 4.0)
    assert judging.runner("LARGE") == judging.runner("m:latest") != judging.runner("other")
    spans: dict[str, Any] = {"prefill": 1.0, "decode": 8.0}
    judged(judging, model="large", client="b.py", ended=20.0, duration=9.0, **spans)
    _, found = judged(judging, client="a.py", ended=22.0, duration=5.0, load=4.0, **SHORT)
    assert (found["reload"]["cause"], found["reload"]["by"]) == ("options", "b.py")
    assert found["reload"]["changed"] == {"num_ctx": [8192, 4096]}
    assert found["load_wait"] == {"seconds": 3.0, "reason": "reload", "models": ["large:latest"]}
    clock[0] = 100.0
    judging.looked([small, large], 100.0)
    [told] = [one for each in noted for one in each.occurrences]
    assert (told.other, told.detail, told.seconds) == ("b.py", "reload num_ctx", 3.0)
    assert told.values == "num_ctx 8192 → 4096"


def test_a_wait_for_a_reload_is_told_apart() -> None:
    noted: list[Noted] = []
    clock = [100.0]
    judging = Judging(note=noted.append, clock=lambda: clock[0])
    first: dict[str, Any] = {"duration": 10.0, "prefill": 1.0, "decode": 9.0}
    judged(judging, client="beta.py", ended=10.0, options={"num_ctx": 4096}, **first)
    # It came at 4, waited till 10, and then the model was loaded anew.
    late: dict[str, Any] = {"duration": 9.0, "load": 7.0, "prefill": 1.0, "decode": 1.0}
    judged(judging, client="gamma.py", ended=13.0, options={"num_ctx": 8192}, **late)
    clock[0] = 200.0
    judging.looked([], 200.0)
    [told] = [one for noted_ in noted for one in noted_.occurrences]
    assert (told.kind, told.other, told.detail) == ("waited", "beta.py", "reload num_ctx")
    assert told.values == "num_ctx 4096 → 8192"


def test_loads_come_one_after_the_other() -> None:
    """Ollama loads one model at a time: the second one, which came at 5, waits until 10 for it."""
    noted: list[Noted] = []
    clock = [100.0]
    judging = Judging(note=noted.append, clock=lambda: clock[0])
    spans: dict[str, Any] = {"prefill": 0.5, "decode": 0.5}
    judged(judging, client="a.py", model="a", ended=11.0, duration=8.0, load=7.0, **spans)
    call, found = judged(
        judging, client="b.py", model="b", ended=14.0, duration=9.0, load=8.0, **spans
    )
    assert (call.load, call.queue) == (3.0, 5.0)
    assert found["load_wait"] == {"seconds": 5.0, "reason": "load", "models": ["a:latest"]}
    clock[0] = 200.0
    judging.looked([], 200.0)
    [told] = [one for each in noted for one in each.occurrences]
    assert (told.kind, told.other, told.detail, told.seconds) == ("waited", "a.py", "load", 5.0)


def test_who_waits_along_for_a_load_has_loaded_nothing() -> None:
    judging = Judging(clock=lambda: 1.0)
    judged(judging, client="a.py", ended=11.0, duration=8.0, load=7.0, prefill=0.5, decode=0.5)
    call, found = judged(
        judging, client="b.py", ended=12.0, duration=7.0, load=5.01, queue=0.9, prefill=0.5
    )
    assert (call.load, call.queue) == (0.0, 5.91)
    assert found["load_wait"] == {"seconds": 5.01, "reason": "load", "models": []}
    assert "reload" not in found


class Room:
    """An Ollama with room for one model: a.py's call of `m` ends at 10, while `big` is to be loaded
    for b.py, which came at 4; by a look at 10.3 `m` has gone."""

    def __init__(self, **fields: Any) -> None:
        self.noted: list[Noted] = []
        self.now = 1.0
        self.judging = Judging(note=self.noted.append, clock=lambda: self.now)
        known = ModelInfo(name="m", loaded=True)
        self.judging.looked([known], 1.0)
        first: dict[str, Any] = {"duration": 9.0, "prefill": 1.0, "decode": 8.0, "client": "a.py"}
        judged(self.judging, ended=10.0, **first | fields)
        self.judging.looked([msgspec.structs.replace(known, loaded=False)], 10.3)

    def late(self, load: float = 7.0, **fields: Any) -> dict[str, Any]:
        spans = {"duration": load + 1.0, "load": load, **SHORT, "client": "b.py"}
        return judged(self.judging, model="big", ended=5.0 + load, **spans | fields)[1]

    @property
    def told(self) -> list[Occurrence]:
        self.now = 200.0
        self.judging.looked([], 200.0)
        return [one for each in self.noted for one in each.occurrences]


def test_a_model_that_has_to_wait_for_room_waits_for_the_calls_of_the_one_that_goes() -> None:
    room = Room()
    assert not room.judging.no_room("big:latest", "m:latest")
    assert room.late()["load_wait"] == {"seconds": 6.0, "reason": "room", "models": ["m:latest"]}
    assert room.judging.no_room("m:latest", "big:latest")
    [told] = room.told
    assert (told.kind, told.other, told.detail, told.seconds) == ("waited", "a.py", "room", 6.0)


def test_an_embedding_that_is_still_computed_is_waited_for_one_that_failed_is_not() -> None:
    embedding: dict[str, Any] = {"path": "/api/embed", "prefill": None, "decode": None}
    room = Room(**embedding)
    assert room.late()["load_wait"]["seconds"] == 6.0
    assert [one.seconds for one in room.told] == [6.0]
    assert "load_wait" not in Room(**embedding, state="failed").late()


def test_a_model_that_was_to_be_unloaded_anyhow_made_no_room() -> None:
    assert "load_wait" not in Room(options={"keep_alive": 0}).late()


def test_what_is_too_short_for_a_load_holds_no_wait() -> None:
    judging = Judging(clock=lambda: 1.0)
    judged(judging, ended=10.0, duration=9.0, prefill=1.0, decode=8.0)
    call, found = judged(judging, ended=10.5, duration=0.53, load=0.04, prefill=0.1, decode=0.3)
    assert call.load == 0.04 and "load_wait" not in found


def test_a_wait_within_a_load_made_a_call_slow_as_a_wait() -> None:
    judging = Judging(clock=lambda: 1.0)
    for number in range(12):
        usual: dict[str, Any] = {"queue": 0.0, "load": 0.002, "prefill": 0.5, "decode": 1.5}
        judged(judging, ended=20.0 * number, duration=2.0, **usual)
    # Another one runs till 310; this one came at 300 and its model was loaded anew from then on.
    judged(judging, client="batch.py", ended=310.0, duration=30.0, prefill=1.0, decode=29.0)
    _, found = judged(judging, ended=314.0, duration=14.0, load=12.0, prefill=0.5, decode=1.5)
    assert [(one["what"], round(one["seconds"])) for one in found["slow"]["because"]] == [
        ("queue", 10),
        ("load", 2),
    ]


def test_where_a_model_lies_may_be_unknown() -> None:
    judging = Judging(clock=lambda: 1.0)
    judging.looked([ModelInfo(name="m:latest", loaded=True, size_loaded=9)], 1.0)
    for number in range(12):
        judged(judging, ended=20.0 * number, duration=2.0, prefill=0.5, decode=1.5)
    _, found = judged(judging, ended=300.0, duration=9.0, prefill=0.5, decode=8.5)
    assert found["slow"]["because"][0]["reason"] is None


def test_a_busy_runner_is_put_down_to_whom_it_reads_for() -> None:
    noted: list[Noted] = []
    clock = [100.0]
    judging = Judging(slots=lambda model: 4, note=noted.append, clock=lambda: clock[0])
    judged(judging, client="old.py", ended=9.0, duration=9.0, prefill=1.0, decode=8.0)
    judged(judging, client="long.py", ended=9.0, duration=8.0, prefill=7.0, decode=1.0)
    judged(judging, client="a.py", ended=8.5, duration=6.0, queue=5.5, prefill=0.4, decode=0.1)
    clock[0] = 200.0
    judging.looked([], 200.0)
    shares = [(one.kind, one.other) for told in noted for one in told.occurrences]
    assert shares == [("runner_busy", "long.py")]


def test_a_look_tells_when_a_model_is_unloaded() -> None:
    wall = 1_790_000_000.0
    judging = Judging(clock=lambda: 50.0, now=lambda: wall)
    judged(judging, load=1.0)
    at = datetime.fromtimestamp(wall + 30, UTC).isoformat() + "123Z"
    at = at.replace("+00:00123Z", ".123456789Z")
    judging.looked([ModelInfo(name="m:latest", loaded=True, expires_at=at)], 50.0)
    _, found = judged(judging, load=1.0, ended=100.0)
    assert found["reload"]["cause"] == "expired"


def test_a_reload_whose_cause_is_not_known_is_no_finding() -> None:
    judging = Judging()
    judged(judging, load=1.0)
    _, found = judged(judging, load=1.0, ended=20.0)
    assert found["reload"]["cause"] == "unknown"
    assert occurred({"reload": found["reload"]}) == []


def test_who_was_waited_for_is_told_when_all_who_were_served_have_ended() -> None:
    noted: list[Noted] = []
    running = [Running("m:latest", None, 3.0)]
    judging = Judging(lambda: running, noted.append, clock=itertools.count(100).__next__)
    spans: dict[str, Any] = {"prefill": 1.0, "decode": 4.0}
    judged(judging, client="nightly_embed.py", ended=6.0, **spans)
    waiter, _ = judged(judging, client="signals.py", queue=3.0, ended=11.0, **spans)
    assert noted == []  # what came at 3 may have been served, too
    running.clear()
    judged(judging, client="late.py", ended=13.0, duration=10.0, queue=0.0, prefill=0.0, decode=1.5)
    assert noted == [
        Noted(
            waiter.id,
            waiter.model,
            "signals.py",
            [Occurrence(kind="waited", other="nightly_embed.py", seconds=3.0)],
        )
    ]


def test_the_wait_that_a_load_hides_is_a_wait() -> None:
    noted: list[Noted] = []
    judging = Judging(note=noted.append, clock=itertools.count(100).__next__)
    first = {"num_ctx": 4096}
    judged(judging, client="a.py", ended=1.0, load=0.9, options=first)
    spans: dict[str, Any] = {"prefill": 1.0, "decode": 5.0, "duration": 6.0}
    judged(judging, client="a.py", ended=10.0, load=0.002, options=first, **spans)
    # It came at 5, and Ollama loaded from 10 to 11.5: it calls that a load of 6.5 seconds.
    waiter, found = judged(
        judging,
        client="b.py",
        ended=13.0,
        duration=8.0,
        load=6.5,
        prefill=0.5,
        decode=1.0,
        options={"num_ctx": 8192},
    )
    assert (found["reload"]["cause"], found["reload"]["seconds"]) == ("options", 1.5)
    [told] = noted
    [one] = told.occurrences
    assert (told.call, one.other, one.seconds) == (waiter.id, "a.py", 5.0)
    assert (one.detail, one.values) == ("reload num_ctx", "num_ctx 4096 → 8192")


def test_who_loads_a_model_keeps_it_from_others() -> None:
    noted: list[Noted] = []
    judging = Judging(note=noted.append, clock=itertools.count(100).__next__)
    judged(judging, client="a.py", ended=10.0, duration=10.0, load=8.0, prefill=1.0, decode=1.0)
    judged(judging, client="b.py", ended=12.0, duration=9.0, queue=7.0, prefill=1.0, decode=1.0)
    [told] = noted
    assert [(one.other, one.seconds) for one in told.occurrences] == [("a.py", 7.0)]


def test_who_left_while_its_prompt_was_read_wasted_that_time() -> None:
    running: list[Running] = []
    judging = Judging(lambda: running, clock=itertools.count(100).__next__)
    left: dict[str, Any] = {"state": "cancelled", "reason": "client_disconnected"}
    left |= {"input_tokens": None, "output_tokens": None, "duration": 4.0}
    _, found = judged(judging, ended=10.0, **left)
    assert found["waste"] == {
        "kind": "left",
        "tokens": None,
        "seconds": 4.0,
        "estimated": False,
        "detail": None,
    }
    # An older one has the model still: this one only waited.
    running.append(Running("m:latest", None, 5.0))
    assert "waste" not in judged(judging, ended=20.0, **left)[1]


@pytest.mark.parametrize(
    ("reason", "cause", "kinds"),
    [
        ("client_disconnected", "load_aborted", ["reload_load_aborted"]),
        ("operator", "load_stopped", []),
    ],
)
def test_a_call_that_an_operator_stopped_is_not_its_clients_fault(
    reason: str, cause: str, kinds: list[str]
) -> None:
    judging = Judging()
    judged(judging, load=1.0)
    broken: dict[str, Any] = {"state": "cancelled", "reason": reason, "input_tokens": None}
    _, found = judged(judging, ended=15.0, client="c.py", duration=4.0, **broken)
    assert ("waste" in found) is (reason == "client_disconnected")
    _, found = judged(judging, ended=20.0, load=1.5)
    assert (found["reload"]["cause"], found["reload"]["by"]) == (cause, "c.py")
    assert [one.kind for one in occurred({"reload": found["reload"]})] == kinds


def test_a_prompt_of_no_tokens_is_not_judged_but_the_rest_is() -> None:
    judging = Judging()
    judged(judging, load=1.0)
    _, found = judged(judging, input_tokens=0, load=1.0, ended=20.0, options={"num_ctx": 512})
    assert "prompt_cut" not in found and "reload" in found


def test_a_call_that_was_broken_off_may_have_loaded_the_model_too() -> None:
    judging = Judging(clock=lambda: 1.0)
    judged(judging, prompt="hello", input_tokens=10)
    left: dict[str, Any] = {"state": "cancelled", "input_tokens": None}
    judged(judging, options={"num_ctx": 8192}, **left)
    judging.looked([ModelInfo(name="m:latest", loaded=True, context_length=8192)], 2.0)
    assert judged(judging)[1]["prompt_cut"]["context"] is None


def test_where_ollama_told_no_durations_the_time_in_service_is_estimated() -> None:
    noted: list[Noted] = []
    judging = Judging(note=noted.append, clock=itertools.count(100).__next__)
    path = "/v1/chat/completions"
    call = make_call(path=path, model="m", client="v1.py", duration=5.0, input_tokens=10)
    exchange = Exchange.begin("POST", path, None)
    exchange.started, exchange.first_byte, exchange.ended = 0.0, 1.0, 5.0
    judging(call, exchange)
    judged(judging, client="b.py", queue=4.0, prefill=1.0, decode=1.0, ended=7.0)
    [told] = noted
    assert [(one.other, one.seconds) for one in told.occurrences] == [("v1.py", 4.0)]


def test_a_slow_call_says_why() -> None:
    judging = Judging()
    usual: dict[str, Any] = {"duration": 2.0, "queue": 0.0, "prefill": 0.5, "decode": 1.5}
    for _ in range(10):
        assert "slow" not in judged(judging, **usual)[1]
    _, found = judged(judging, **usual | {"duration": 9.0, "decode": 8.5})
    assert found["slow"] == {
        "usual": 2.0,
        "calls": 10,
        "seconds": 7.0,
        "because": [{"what": "decode", "seconds": 7.0, "reason": None}],
    }


def test_less_of_the_model_on_the_gpu_is_known_from_the_looks() -> None:
    judging = Judging()
    usual: dict[str, Any] = {"duration": 2.0, "queue": 0.0, "prefill": 0.5, "decode": 1.5}
    for on_gpu, calls in ((100, 10), (40, 0)):
        judging.looked([ModelInfo(name="m", loaded=True, size_loaded=100, size_vram=on_gpu)], 1.0)
        for _ in range(calls):
            judged(judging, **usual)
    _, found = judged(judging, **usual | {"duration": 9.0, "decode": 8.5})
    assert [one["reason"] for one in found["slow"]["because"]] == ["cpu"]


def test_the_share_from_the_cache_is_told_once_it_was_learnt() -> None:
    judging = Judging()
    for number in range(27):
        tokens = 200 + 40 * number
        judged(judging, prompt=f"{number} " * tokens, input_tokens=tokens, prefill=0.002 * tokens)
    _, found = judged(judging, prompt="x y " * 1000, input_tokens=1000, prefill=0.5)
    assert found["prompt_cache"] == {"share": pytest.approx(0.75), "tokens": pytest.approx(750, 2)}


def slow(*because: tuple[str, float, str | None]) -> dict[str, Any]:
    told = [
        {"what": what, "seconds": seconds, "reason": reason} for what, seconds, reason in because
    ]
    return {"usual": 2.0, "calls": 40, "seconds": 9.0, "because": told}


def test_only_what_no_other_finding_tells_of_a_slow_call_is_an_occurrence() -> None:
    others = ("decode", 6.0, "others"), ("queue", 2.0, None)
    assert occurred({"slow": slow(*others)}) == [
        Occurrence(kind="slow_decode", detail="others", seconds=6.0)
    ]
    assert occurred({"slow": slow(*reversed(others))}) == []
    assert occurred({"slow": slow(("tokens", 6.0, None))}) == []
    read = slow(("prefill", 6.0, None))
    assert occurred({"slow": read}) == [Occurrence(kind="slow_prefill", seconds=6.0)]
    start = {"at": 1, "tokens": 5, "seconds": 6.0}
    assert [one.kind for one in occurred({"slow": read, "prompt_start": start})] == ["prompt_start"]


def test_waits_of_many_calls_are_told_at_one_look_where_nothing_runs() -> None:
    noted: list[Noted] = []
    clock = [0.0]
    busy = [Running("m", None, 0.0)]
    judging = Judging(running=lambda: busy, note=noted.append, clock=lambda: clock[0])
    for number in range(20):
        begun = 2.0 * number
        judged(
            judging, ended=begun + 2.0, duration=1.0 + begun, queue=begun, prefill=1.0, decode=1.0
        )
    assert noted == []
    busy.clear()
    clock[0] = 50.0
    judging.looked([], 50.0)
    assert len(noted) == 19
