"""Findings in the store: sums of their calls, over after a quiet time, gone with their calls."""

from __future__ import annotations

import itertools
import sqlite3
from pathlib import Path
from typing import Any

from ollama_proxy.exchange import Call
from ollama_proxy.ids import first_id, iso
from ollama_proxy.records import Changed, Filter, Finding, Noted, Occurrence, Values
from ollama_proxy.storage.findings import EVIDENCE, QUIET_SECONDS
from ollama_proxy.storage.sqlite import SECONDS_A_DAY, SqliteStore
from tests.storage.calls import NOON, make_call

_count = itertools.count()


def begun(at: float, **fields: Any) -> Call:
    """A call whose id tells this time, whatever other tests made before."""
    return make_call(at=at, id=f"{first_id(at)[:20]}{next(_count):06}", **fields)


def cut(at: float, lost: int | None = 500, **fields: Any) -> Call:
    """A call whose prompt was cut."""
    found = {"cut": True, "tokens_lost": lost, "estimated": lost is not None, "context": 2048}
    fields = {"client": "news.py", "input_tokens": 1026} | fields
    return begun(at, insights={"prompt_cut": found}, **fields)


def opened(path: Path, now: float) -> SqliteStore:
    store = SqliteStore(path, clock=lambda: now)
    store.open()
    return store


def test_a_finding_is_the_sum_of_its_calls(path: Path) -> None:
    store = opened(path, NOON + 100)
    first, second = cut(NOON), cut(NOON + 50, lost=700)
    others = [begun(NOON + 10 * n, client="news.py") for n in range(1, 4)]
    beside = begun(NOON + 20, client="other.py")
    store.write([first, *others, beside])
    store.write([second])
    assert store.findings(Filter()) == [
        Finding(
            id=f"{first.id}.0",
            kind="prompt_cut",
            model="llama3:8b",
            client="news.py",
            other=None,
            detail=None,
            opened_at=iso(NOON),
            last_at=iso(NOON + 50),
            over=False,
            count=2,
            of=5,
            tokens=1200,
            tokens_p50=500,
            tokens_max=700,
            seconds=None,
            needed=1726,
            estimated=True,
            calls=[second.id, first.id],
        )
    ]
    store.close()


def test_a_call_that_is_written_twice_counts_once(store: SqliteStore) -> None:
    call = cut(NOON)
    store.write([call])
    store.write([call, make_call()])
    assert [found.count for found in store.findings(Filter())] == [1]


def test_each_client_and_model_has_its_own(store: SqliteStore) -> None:
    store.write([cut(NOON), cut(NOON, client="b.py", lost=900), cut(NOON, model="m", lost=None)])
    found = store.findings(Filter())
    # What cost most comes first.
    assert [one.client for one in found] == ["b.py", "news.py", "news.py"]
    assert found[2].tokens is None and not found[2].estimated
    assert [one.model for one in store.findings(Filter(model="m:latest"))] == ["m"]
    assert [one.client for one in store.findings(Filter(client="b.py"))] == ["b.py"]
    assert len(store.findings(Filter(kind="prompt_cut"))) == 3
    assert store.findings(Filter(kind="waited")) == []
    assert store.findings(Filter(hidden=("waited", "prompt_cut"))) == []


def test_what_makes_answers_wrong_comes_first(store: SqliteStore) -> None:
    slow = {"because": [{"what": "decode", "seconds": 900.0, "reason": None}]}
    store.write([begun(NOON, insights={"slow": slow}), cut(NOON, lost=None)])
    assert [one.kind for one in store.findings(Filter())] == ["prompt_cut", "slow_decode"]


def test_within_a_span_all_calls_of_the_client_are_those_it_sent_in_it(store: SqliteStore) -> None:
    others = [begun(NOON + 10 * n, client="news.py") for n in range(6)]
    store.write([*others, cut(NOON + 25), begun(NOON + 30, client="b.py")])
    [alone] = store.findings(Filter())
    [within] = store.findings(Filter(since=first_id(NOON + 15)))
    assert (alone.count, alone.of) == (1, 7)
    one = store.finding(alone.id)
    assert one is not None and one.of == 7
    assert (within.count, within.of) == (1, 5)


def test_the_calls_of_a_finding_can_be_asked_for(store: SqliteStore) -> None:
    first, other, second = cut(NOON), begun(NOON + 5, client="news.py"), cut(NOON + 50)
    store.write([first, other, second])
    [found] = store.findings(Filter())
    assert [call.id for call in store.search(Filter(finding=found.id)).calls] == [
        second.id,
        first.id,
    ]
    assert store.search(Filter(finding="none")).calls == []


def reloaded(at: float, values: list[Any], client: str = "b.py") -> Call:
    changed = {"num_ctx": values}
    reload = {"cause": "options", "seconds": 2.0, "changed": changed, "by": "a.py"}
    return begun(at, client=client, insights={"reload": reload})


def test_two_clients_that_ask_for_other_options_are_one_finding_whatever_the_values(
    store: SqliteStore,
) -> None:
    store.write([reloaded(NOON + n, [4096, 8192 + 100 * (n % 7)]) for n in range(70)])
    store.write([reloaded(NOON + 80, [4096, 8192]), reloaded(NOON + 81, [4096, 99], "c.py")])
    found, other = store.findings(Filter())
    assert (found.detail, found.count, found.seconds) == ("num_ctx", 71, 142.0)
    assert [(one.old, one.new) for one in found.options] == [
        (Values(["4096"], 0), Values(["8192", "8292", "8792"], 4))
    ]
    assert [(one.client, one.options[0].new.values) for one in (found, other)] == [
        ("b.py", ["8192", "8292", "8792"]),
        ("c.py", ["99"]),
    ]
    [lately] = store.findings(Filter(since=first_id(NOON + 75), client="b.py"))
    assert [one.new for one in lately.options] == [Values(["8192"], 0)]


def test_options_of_an_older_store_stay_known(store: SqliteStore, path: Path) -> None:
    """There each pair of values was a finding of its own, and its detail told them."""
    store.write([reloaded(NOON, [4096, 8192])])
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE occurrences SET option_values = NULL")
        connection.execute("UPDATE findings SET detail = 'num_ctx 4096 \u2192 8192'")
    connection.close()
    [found] = store.findings(Filter())
    assert found.options == [Changed("num_ctx", Values(["4096"], 0), Values(["8192"], 0))]
    waits = [Occurrence(kind="waited", other="a.py", detail="reload num_ctx 1 \u2192 2")]
    call = begun(NOON + 9, client="d.py")
    store.write([call], noted=[Noted(call.id, call.model, call.client, waits)])
    [found] = store.findings(Filter(client="d.py"))
    assert found.options == [Changed("num_ctx", Values(["1"], 0), Values(["2"], 0))]


def test_after_a_quiet_time_it_is_over_and_another_one_begins(path: Path) -> None:
    later = NOON + QUIET_SECONDS + 100
    store = opened(path, later)
    store.write([cut(NOON), cut(NOON + 60), cut(later)])
    newest, oldest = sorted(store.findings(Filter()), key=lambda one: one.opened_at, reverse=True)
    assert (oldest.over, oldest.count, newest.over, newest.count) == (True, 2, False, 1)
    store.close()


def test_only_the_calls_of_the_span_count(store: SqliteStore) -> None:
    calls = [cut(NOON + 10 * n) for n in range(EVIDENCE + 5)]
    store.write(calls)
    [every] = store.findings(Filter())
    assert (every.count, len(every.calls)) == (EVIDENCE + 5, EVIDENCE)
    assert every.calls[0] == calls[-1].id
    span = Filter(since=first_id(NOON + 10), until=first_id(NOON + 40))
    [some] = store.findings(span)
    assert (some.id, some.count, some.tokens) == (every.id, 3, 1500)
    assert store.finding(every.id) == every


def test_what_a_call_lost_is_told_of_those_of_the_span(store: SqliteStore) -> None:
    for at, lost in enumerate((100, 900, 200, None, 300)):
        store.write([cut(NOON + 10 * at, lost=lost)])
    [every] = store.findings(Filter())
    assert (every.tokens_p50, every.tokens_max) == (200, 900)
    [some] = store.findings(Filter(since=first_id(NOON + 15)))
    assert (some.count, some.tokens_p50, some.tokens_max) == (3, 200, 300)


def test_it_is_forgotten_with_its_calls(path: Path) -> None:
    now = NOON + 2 * SECONDS_A_DAY
    store = opened(path, now)
    store.write([cut(NOON), cut(NOON, client="b.py"), cut(now - 60, client="b.py")])
    ids = [one.id for one in store.findings(Filter())]
    store.prune(1, None)
    assert [(one.client, one.count) for one in store.findings(Filter())] == [("b.py", 1)]
    store.prune(1, None)
    assert sum(store.finding(id) is not None for id in ids) == 1
    store.close()


def test_what_is_found_out_later_of_a_call_is_kept_with_it(store: SqliteStore) -> None:
    call = cut(NOON)
    store.write([call])
    found = [Occurrence(kind="waited", other=other, seconds=3.0) for other in ("a.py", None)]
    later = Noted(call.id, call.model, call.client, found)
    store.write([], noted=[later])
    store.write([], noted=[later])
    kinds = [(one.kind, one.other, one.count, one.seconds) for one in store.findings(Filter())]
    assert sorted(kinds, key=str) == [
        ("prompt_cut", None, 1, None),
        ("waited", "a.py", 1, 3.0),
        ("waited", None, 1, 3.0),
    ]
    assert len({one.id for one in store.findings(Filter())}) == 3


def test_for_whom_a_call_waited_is_told_the_longest_first(store: SqliteStore) -> None:
    call, other = cut(NOON), begun(NOON + 1, client="news.py")
    found = [
        Occurrence(kind="waited", other="a.py", seconds=1.0),
        Occurrence(kind="runner_busy", other="b.py", seconds=3.0),
        Occurrence(kind="waited", other="c.py", detail="reload", seconds=2.0),
    ]
    store.write([call, other], noted=[Noted(call.id, call.model, call.client, found)])
    assert store.waits(call.id) == [found[1], found[2], found[0]]
    assert store.waits(other.id) == []


def test_tokens_beyond_all_measure_do_not_keep_findings_from_being_told(store: SqliteStore) -> None:
    store.write([cut(NOON + number, lost=2**62) for number in range(4)])
    [found] = store.findings(Filter())
    assert found.count == 4 and (found.tokens or 0) >= 2**62


def test_calls_that_ollama_never_treated_are_not_among_those_it_treated_so(path: Path) -> None:
    store = opened(path, NOON + 100)
    unreached = {"state": "failed", "reason": "upstream_unreachable", "time_to_first_token": None}
    missing = {"state": "failed", "reason": "model_missing", "time_to_first_token": None}
    store.write(
        [
            cut(NOON),
            begun(NOON + 1, client="news.py", **unreached),
            begun(NOON + 2, client="news.py", path="/api/show"),
            begun(NOON + 3, client="news.py", **missing),
            begun(NOON + 4, client="news.py", state="cancelled", time_to_first_token=None),
            begun(NOON + 5, client="news.py"),
        ]
    )
    told = {one.kind: one for one in store.findings(Filter())}
    assert {kind: (one.count, one.of) for kind, one in told.items()} == {
        "prompt_cut": (1, 2),
        "model_missing": (1, 4),
    }
    alone = store.finding(told["prompt_cut"].id)
    assert alone is not None and alone.of == 2
    store.close()
