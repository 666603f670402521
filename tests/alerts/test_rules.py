"""What each kind of rule says of facts, and of which of them it says nothing."""

from __future__ import annotations

from typing import Any

import pytest

from ollama_proxy.alerts import config
from ollama_proxy.alerts.config import Rule
from ollama_proxy.alerts.facts import MAX_KEYS, SLOTS, Facts, Running, Window
from ollama_proxy.alerts.kinds import KINDS
from ollama_proxy.alerts.rules import MAX_SUBJECTS, judge
from ollama_proxy.records import ModelInfo
from tests.storage.calls import make_call

NOW = 5000.0


def rule(kind: str, **told: Any) -> Rule:
    return config.rules({"r": {"when": kind, **told}})["r"]


def window(*calls: dict[str, Any], at: float = NOW) -> Window:
    found = Window(300.0)
    for call in calls:
        found.add(make_call(**{"model": "m", "client": "c", **call}), at)
    return found


def facts(**known: Any) -> Facts:
    return Facts(**{"moment": NOW, "window": Window(300.0), **known})


def values(rule: Rule, facts: Facts) -> dict[str, float] | None:
    found = judge(rule, facts)
    return None if found is None else {subject: one.value for subject, one in found.items()}


FAILED = [{"state": "failed"}, {"state": "timeout"}, {"state": "completed"}, {"state": "cancelled"}]
SLOW = [{"duration": 10.0 * n, "time_to_first_token": float(n)} for n in range(1, 21)]


@pytest.mark.parametrize(
    ("kind", "calls", "value"),
    [
        ("failed_calls", FAILED, 2.0),
        ("failed_share", FAILED * 2, pytest.approx(400 / 6)),
        ("mean_duration", SLOW, pytest.approx(105.0)),
        ("p95_duration", SLOW, pytest.approx(190.0, rel=0.02)),
        ("mean_first_token", SLOW, pytest.approx(10.5)),
        ("p95_first_token", SLOW, pytest.approx(19.0, rel=0.02)),
        ("prompt_cut", [{"insights": {"prompt_cut": {"cut": cut}}} for cut in (True, None)], 1.0),
    ],
)
def test_of_calls_that_ended(kind: str, calls: list[dict[str, Any]], value: Any) -> None:
    assert values(rule(kind), facts(window=window(*calls))) == {"": value}
    assert values(rule(kind), facts()) == {"": 0.0}


def test_of_cut_prompts_it_is_told_whose_the_latest_was_and_how_many_others() -> None:
    cut: dict[str, Any] = {"insights": {"prompt_cut": {"cut": True}}}
    found = window(cut | {"client": "a.py"}, cut | {"client": "b.py"}, {"client": "fine.py"})
    found.add(make_call(model="m", client="a.py", **cut), NOW + 1)

    def whose(**told: Any) -> list[str | None]:
        known = judge(rule("prompt_cut", **told), facts(window=found, moment=NOW + 1))
        return [one.detail for one in (known or {}).values()]

    assert whose() == ["a.py · m +1"]
    assert whose(client="b.py") == ["b.py · m"]
    assert whose(each="client") == ["a.py · m", "b.py · m", None]


def test_with_few_calls_a_share_or_a_percentile_says_nothing() -> None:
    assert values(rule("failed_share"), facts(window=window(*FAILED[:2]))) == {"": 0.0}
    assert values(rule("p95_duration"), facts(window=window(*SLOW[:19]))) == {"": 0.0}
    assert values(rule("failed_share", calls=1), facts(window=window(*FAILED[:2]))) == {"": 100.0}


def test_what_ended_before_the_window_does_not_count() -> None:
    found = window(*FAILED, at=NOW - 290.0)
    found.add(make_call(state="failed"), NOW)
    assert values(rule("failed_calls"), facts(window=found)) == {"": 3.0}
    assert values(rule("failed_calls", within=60), facts(window=found)) == {"": 1.0}
    later = facts(window=found, moment=NOW + 200.0)
    assert values(rule("failed_calls"), later) == {"": 1.0}


def test_by_model_and_client() -> None:
    bad = {"state": "failed"}
    calls = [bad | {"client": "x.py"}, bad | {"model": "llama3:latest"}, bad | {"client": "x.py"}]
    known = facts(window=window(*calls))
    assert values(rule("failed_calls", client="X*"), known) == {"": 2.0}
    assert values(rule("failed_calls", model="llama3"), known) == {"": 1.0}
    assert values(rule("failed_calls", each="client"), known) == {"x.py": 2.0, "c": 1.0}
    assert values(rule("failed_calls", each="model", client="c"), known) == {"llama3:latest": 1.0}


def test_a_window_is_bounded_whatever_names_calls_have() -> None:
    found = Window(300.0)
    for n in range(3 * MAX_KEYS):
        found.add(make_call(state="failed", model=f"m{n}"), NOW)
    assert len(list(found.over(300.0, NOW))) == MAX_KEYS + 1
    assert values(rule("failed_calls"), facts(window=found)) == {"": 3.0 * MAX_KEYS}
    for n in range(10 * SLOTS):
        found.add(make_call(), NOW + n)
    assert len(found._slots) <= SLOTS + 2


def test_of_running_calls_the_longest_counts() -> None:
    running = [
        Running("m", "a", 100.0, 5.0),
        Running("m", "b", 30.0, 29.0, waiting=28.0),
        Running("n", "b", 20.0, 20.0, waiting=20.0),
    ]
    known = facts(running=running)
    assert values(rule("call_running"), known) == {"": 100.0}
    assert values(rule("call_silent", each="model"), known) == {"m": 29.0, "n": 20.0}
    assert values(rule("call_queued"), known) == {"": 28.0}
    assert values(rule("queue", client="b"), known) == {"": 2.0}
    assert values(rule("queue", each="client"), known) == {"a": 0.0, "b": 2.0}
    found = judge(rule("call_running"), known)
    assert found is not None and found[""].detail == "a · m"
    assert values(rule("call_queued"), facts()) == {}


def test_of_ollama_and_its_models() -> None:
    models = [
        ModelInfo(name="a:latest", loaded=True, size_loaded=100, size_vram=40),
        ModelInfo(name="b", loaded=True, size_loaded=100, size_vram=100),
        ModelInfo(name="c"),
    ]
    known = facts(up=True, models=models)
    assert values(rule("ollama_down"), known) == {"": 0.0}
    assert values(rule("ollama_down"), facts(up=False, error="refused")) == {"": 1.0}
    assert values(rule("model_on_cpu"), known) == {"a:latest": 60.0, "b": 0.0}
    assert values(rule("model_on_cpu", model="b"), known) == {"b": 0.0}
    assert values(rule("model_unavailable", model="a"), known) == {"a": 0.0}
    assert values(rule("model_unavailable", model="d"), known) == {"d": 1.0}


def test_what_is_not_known_says_nothing() -> None:
    for told in (
        rule("ollama_down"),
        rule("model_on_cpu"),
        rule("model_unavailable", model="a"),
        rule("disk_full"),
    ):
        assert judge(told, facts()) is None


def test_of_the_disk_of_bypassing_and_of_lost_records() -> None:
    assert values(rule("disk_full"), facts(disk_percent=91.0)) == {"": 91.0}
    around = [("curl", 5.0), ("old", 900.0)]
    assert values(rule("bypass"), facts(around=around)) == {"curl": 1.0}
    found = Window(600.0)
    for total in (7, 7, 9):  # what was lost before the first look is not news
        found.dropped(total, NOW)
    assert values(rule("records_dropped"), facts(window=found)) == {"": 2.0}


def test_only_the_worst_subjects_have_a_state() -> None:
    models = [
        ModelInfo(name=f"m{n}", loaded=True, size_loaded=1000, size_vram=1000 - n)
        for n in range(MAX_SUBJECTS + 20)
    ]
    found = values(rule("model_on_cpu"), facts(up=True, models=models))
    assert found is not None
    assert (len(found), "m0" in found, f"m{MAX_SUBJECTS + 19}" in found) == (100, False, True)


def test_every_kind_can_be_judged() -> None:
    for kind in KINDS:
        told = {"model": "m"} if kind == "model_unavailable" else {}
        judge(rule(kind, **told), facts(up=True, models=[], disk_percent=1.0))
