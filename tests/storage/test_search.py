"""What is stored is found by what it is; a search that takes too long says where it stopped."""

from __future__ import annotations

import contextlib
import itertools
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from ollama_proxy.exchange import Call
from ollama_proxy.filters import matches, place, place_text
from ollama_proxy.ids import first_id
from ollama_proxy.records import SORTS, Filter, Noted, Occurrence
from ollama_proxy.storage.base import following
from ollama_proxy.storage.errors import StoreError, TooLong
from ollama_proxy.storage.search import PORTION, search
from ollama_proxy.storage.sqlite import SqliteStore
from tests.storage.calls import NOON, make_call

# What texts are made of: letters in both cases, marks of LIKE, a NUL, what has no UTF-8.
LETTERS = "aAbÈèßİ%_\\\0\udc80😀"
MODELS = [None, "m", "M", "m:latest", "library/m", "registry.ollama.ai/m", "m:8b", "È", "è"]
SECONDS = [None, 0.0, 0.5, 1.0]
DURATIONS = [*SECONDS, 2.5, 59.0, 65.0, 1e6]
TOKENS = [None, 0, 7, 2**63 - 1]
REASONS = [None, "http_status", "loop"]
STATES = ["completed", "failed", "running"]


def texts(least: int = 0, most: int = 6) -> some.SearchStrategy[str]:
    return some.text(LETTERS, min_size=least, max_size=most)


def calls_at(moment: int) -> some.SearchStrategy[Call]:
    return some.builds(
        make_call,
        at=some.just(NOON + moment),
        id=some.just(first_id(NOON + moment)),
        client=some.sampled_from([None, "a", "b"]),
        model=some.sampled_from(MODELS),
        state=some.sampled_from(STATES),
        path=some.sampled_from(["/api/chat", "/api/pull"]),
        reason=some.sampled_from(REASONS),
        duration=some.sampled_from(DURATIONS),
        queue=some.sampled_from(SECONDS),
        time_to_first_token=some.sampled_from(SECONDS),
        output_tokens=some.sampled_from(TOKENS),
        prompt=some.none() | texts(),
        response=some.none() | texts(),
        error=some.none() | texts(),
    )


MOMENTS = some.integers(-1, 8).map(lambda second: first_id(NOON + second))
ASKED: dict[str, some.SearchStrategy[Any]] = {
    "before": MOMENTS,
    "since": MOMENTS,
    "until": MOMENTS,
    "client": some.sampled_from(["a", "c"]),
    "model": some.sampled_from([*MODELS[1:], "registry.ollama.ai/library/m:latest"]),
    "state": some.sampled_from(STATES),
    "route": some.just("/api/chat"),
    "reason": some.sampled_from(REASONS[1:]),
    "slower_than": some.sampled_from(SECONDS[1:]),
    # Not the moment itself at which one ends: SQL has its beginning to a tenth of a millisecond.
    "ended_after": some.sampled_from([NOON + after for after in (-0.25, 2.25, 4.25, 59.75, 70.25)]),
    "text": texts(1, 2).filter(str.isprintable),
    "sort": some.sampled_from(SORTS),
    "after": some.builds(
        lambda value, id: place_text((value, id)), some.sampled_from([-1, 0.5, 7]), MOMENTS
    ),
}
# One to three of them: more together describe hardly a call.
FILTERS = some.lists(some.sampled_from(sorted(ASKED)), max_size=3, unique=True).flatmap(
    lambda names: some.builds(
        Filter, limit=some.integers(1, 10), **{name: ASKED[name] for name in names}
    )
)


@pytest.fixture(scope="module")
def pool(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SqliteStore]:
    """A store that each example fills anew."""
    store = SqliteStore(tmp_path_factory.mktemp("pool") / "calls.db")
    store.open()
    yield store
    store.close()


@settings(max_examples=200, deadline=None)
@given(calls=some.tuples(*map(calls_at, range(8))), asked=some.lists(FILTERS, max_size=8))
def test_the_store_finds_what_the_predicate_describes(
    pool: SqliteStore, calls: tuple[Call, ...], asked: list[Filter]
) -> None:
    with pool._transaction() as connection:
        connection.execute("DELETE FROM calls")
    pool.write(calls)
    for wanted in asked:
        described = [call for call in calls if matches(call, wanted)]
        described.sort(key=lambda call: place(call, wanted.sort), reverse=True)
        expected = [call.id for call in described]
        found = pool.search(wanted)
        assert [call.id for call in found.calls] == expected[: wanted.limit], wanted
        assert found.scanned_to is None
        assert pool.oldest(wanted) == min(expected, default=None), wanted


@pytest.fixture
def one(store: SqliteStore) -> Call:
    """The call that is looked for, between two that are like each other and not like it."""
    made = [
        make_call(),
        make_call(
            client="my-script",
            model="library/Qwen3",
            state="failed",
            path="/api/pull",
            reason="http_status",
            duration=61.5,
            prompt="Perché 100% of_it?",
            error="LÀ fuori",
        ),
        make_call(),
    ]
    store.write(made)
    return made[1]


@pytest.mark.parametrize(
    "wanted",
    [
        {"client": "my-script"},
        {"model": "qwen3:latest"},
        {"state": "failed"},
        {"route": "/api/pull"},
        {"reason": "http_status"},
        {"slower_than": 61},
        {"text": "perché"},
        {"text": "PERCHÉ"},
        {"text": "100%"},
        {"text": "of_it"},
        {"text": "là FUORI"},
        {"state": "failed", "slower_than": 60, "text": "fuori"},
    ],
)
def test_each_filter_finds_its_call(store: SqliteStore, one: Call, wanted: dict[str, Any]) -> None:
    assert store.search(Filter(**wanted)).calls == [one]


@pytest.mark.parametrize(
    "wanted",
    [
        {"client": "my"},
        {"client": "MY-SCRIPT"},
        {"model": "qwen"},
        {"route": "/api"},
        {"slower_than": 61.5},
        {"text": "perche"},
        {"text": "100_"},
        {"text": "ofXit"},
        {"client": "' OR 1=1 --"},
        {"text": "' OR 1=1 --"},
        {"state": "completed", "text": "fuori"},
    ],
)
def test_no_filter_finds_what_it_does_not_name(
    store: SqliteStore, one: Call, wanted: dict[str, Any]
) -> None:
    assert store.search(Filter(**wanted)).calls == []


def test_since_and_until_are_moments(store: SqliteStore) -> None:
    calls = [make_call(at=NOON + second, id=first_id(NOON + second)) for second in range(5)]
    store.write(calls)
    wanted = Filter(since=first_id(NOON + 1), until=first_id(NOON + 3))
    assert store.search(wanted).calls == calls[2:0:-1]
    assert store.search(Filter(until=first_id(NOON + 3), before=calls[2].id)).calls == calls[1::-1]


# -- how long it takes ----------------------------------------------------------------------


@pytest.mark.parametrize(
    "wanted",
    [
        {},
        {"before": "x"},
        {"since": "x", "until": "x"},
        {"client": "x", "model": "x", "state": "failed"},
        {"route": "/x", "reason": "loop", "slower_than": 1.0},
        {"text": "x"},
        {"insight": "slow"},
    ],
)
def test_a_search_scans_the_one_index_and_sorts_nothing(
    store: SqliteStore, path: Path, wanted: dict[str, Any]
) -> None:
    """To sort would be to hold all texts that match, however long they are."""
    told = plans(store, path, wanted)
    assert "INDEX calls_to_search" in told
    assert "TEMP B-TREE" not in told


@pytest.mark.parametrize("sort", SORTS)
def test_a_sort_reads_nothing_but_the_one_index(store: SqliteStore, path: Path, sort: str) -> None:
    """The rows themselves may be 2 MB each."""
    told = plans(store, path, {"sort": sort, "client": "x", "after": place_text((1.5, "x"))})
    assert "COVERING INDEX calls_to_search" in told
    assert "SCAN calls " not in told.replace("SCAN calls USING COVERING", "")


def plans(store: SqliteStore, path: Path, wanted: dict[str, Any]) -> str:
    asked: list[str] = []
    with store._read() as connection:
        connection.set_trace_callback(asked.append)
    store.search(Filter(**wanted))
    assert asked
    with contextlib.closing(sqlite3.connect(path)) as connection:
        found = [connection.execute(f"EXPLAIN QUERY PLAN {sql}").fetchall() for sql in asked]
    return " ".join(step[3] for plan in found for step in plan)


def hurried(path: Path, seconds: float) -> SqliteStore:
    """A store for which each look at the clock costs so many seconds."""
    ticks = itertools.count()
    store = SqliteStore(path, timer=lambda: next(ticks) * seconds)
    store.open()
    return store


@pytest.mark.parametrize("text", ["needle", "nowhere"])
def test_a_search_that_takes_long_tells_where_it_stopped_and_goes_on_there(
    path: Path, text: str
) -> None:
    store = hurried(path, 1.0)
    calls = [make_call(prompt="hay" if n % 50 else "a needle") for n in range(3 * PORTION + 10)]
    store.write(calls)
    pages = []
    wanted: Filter | None = Filter(text=text)
    while wanted is not None:
        pages.append(store.search(wanted))
        wanted = following(wanted, pages[-1])
    stops = [call.id for call in calls[::-1]][PORTION - 1 :: PORTION]
    assert [page.scanned_to for page in pages][:3] == stops
    assert pages[-1].scanned_to is None
    expected = [call for call in calls[::-1] if text in (call.prompt or "")]
    assert [call for page in pages for call in page.calls] == expected
    store.close()


def test_the_oldest_is_not_looked_for_for_ever(path: Path) -> None:
    calls = [make_call(client="a") for _ in range(4000)]
    store = hurried(path, 1.0)
    store.write(calls)
    with pytest.raises(TooLong):
        store.oldest(Filter(client="nobody"))
    assert store.oldest(Filter(client="a")) == calls[0].id
    store.close()


def test_another_filter_has_longer_but_not_for_ever(path: Path) -> None:
    """A cold disk may take seconds for what the cache has in milliseconds."""
    calls = [make_call(client="a" if n else "b") for n in range(3 * PORTION + 10)]
    for seconds, stops in ((0.01, None), (1.0, calls[-PORTION].id)):
        store = hurried(path.with_name(f"{seconds}.sqlite3"), seconds)
        store.write(calls)
        found = store.search(Filter(client="b"))
        assert found.scanned_to == stops
        assert found.calls == ([] if stops else [calls[0]])
        store.close()


def test_a_sort_that_takes_long_is_of_the_newest_calls_and_tells_since_when(path: Path) -> None:
    calls = [make_call(duration=1000.0 - n) for n in range(3 * PORTION)]
    store = hurried(path, 1.0)
    store.write(calls)
    found = store.search(Filter(sort="duration", limit=2))
    newest = calls[-PORTION:]
    assert (found.calls, found.scanned_to) == (newest[:2], newest[0].id)
    store.close()
    with contextlib.closing(SqliteStore(path)) as quick:
        quick.open()
        found = quick.search(Filter(sort="duration", limit=2))
        assert (found.calls, found.scanned_to) == (calls[:2], None)


def test_what_is_read_can_be_given_up(path: Path) -> None:
    store = hurried(path, 0.0)
    store.write([make_call(prompt="a" * 1000) for _ in range(2000)])
    connection = store._reader
    assert connection is not None
    connection.set_progress_handler(store.interrupt, 100)
    with pytest.raises(StoreError, match="interrupted"):
        store.search(Filter(text="nowhere"))
    connection.set_progress_handler(None, 0)
    assert len(store.search(Filter(limit=5)).calls) == 5
    store.close()


def test_a_page_that_is_full_stopped_nowhere(path: Path) -> None:
    store = hurried(path, 1.0)
    calls = [make_call(prompt="needle") for _ in range(2 * PORTION)]
    store.write(calls)
    for limit in (5, PORTION):
        found = store.search(Filter(text="needle", limit=limit))
        assert found.calls == calls[: -limit - 1 : -1]
        assert found.scanned_to is None
    store.close()


def test_within_the_time_all_is_looked_through(path: Path) -> None:
    store = hurried(path, 0.001)
    old, new = make_call(prompt="needle"), [make_call() for _ in range(20 * PORTION)]
    last = make_call(prompt="needle")
    store.write([old, *new, last])
    found = store.search(Filter(text="needle"))
    assert (found.calls, found.scanned_to) == ([last, old], None)
    store.close()


# -- by what was found ----------------------------------------------------------------------


def test_calls_are_found_by_what_was_found_of_them(store: SqliteStore) -> None:
    kinds = ("prompt_cut", "reload_evicted", "reload_expired", "waited")
    calls = [make_call() for _ in range(2 * len(kinds))]
    noted = [
        Noted(call.id, call.model, call.client, [Occurrence(kind=kind)])
        for call, kind in zip(calls, kinds, strict=False)
    ]
    store.write(calls, noted=noted)
    for insight, expected in (
        ("prompt_cut", calls[:1]),
        ("reload", calls[2:0:-1]),
        ("reload_expired", calls[2:3]),
        ("waited", calls[3:4]),
        ("looped", []),
    ):
        assert store.search(Filter(insight=insight)).calls == expected, insight


# -- page after page ------------------------------------------------------------------------


def test_pages_follow_until_all_that_was_asked_for_is_there(store: SqliteStore) -> None:
    calls = [make_call() for _ in range(7)]
    store.write(calls)
    for limit, expected in ((5, 5), (100, 7)):
        found: list[Call] = []
        wanted: Filter | None = Filter(limit=limit)
        while wanted is not None:
            page = store.search(Filter(limit=min(wanted.limit, 3), before=wanted.before))
            found += page.calls
            wanted = following(wanted, page)
        assert found == calls[: -expected - 1 : -1]


@pytest.mark.parametrize("sort", SORTS)
def test_sorted_pages_follow_each_other_without_a_gap(store: SqliteStore, sort: str) -> None:
    """Many calls have the same value, and some none."""
    values = [3, 1, None, 2, 1, 1, None, 3]
    calls = [make_call(**{"duration": None, sort: value}) for value in values]
    store.write(calls)
    found: list[Call] = []
    wanted: Filter | None = Filter(sort=sort, limit=100)
    while wanted is not None:
        page = store.search(Filter(sort=sort, limit=3, after=wanted.after))
        found += page.calls
        wanted = following(wanted, page)
    assert [getattr(call, sort) for call in found] == [3, 3, 2, 1, 1, 1, None, None]
    assert [call.id for call in found] == [calls[n].id for n in (7, 0, 3, 5, 4, 1, 6, 2)]


def test_a_call_that_is_deleted_while_it_is_sorted_is_left_out(path: Path) -> None:
    calls = [make_call(duration=float(n)) for n in range(2 * PORTION)]
    with contextlib.closing(SqliteStore(path)) as store:
        store.open()
        store.write(calls)
        with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
            looks = itertools.count()

            def clock() -> float:
                """Looked at for the second time when the newest calls have their places."""
                if next(looks):
                    connection.execute("DELETE FROM calls WHERE id = ?", (calls[-1].id,))
                return 0.0

            found = search(connection, Filter(sort="duration"), 3, clock)
    assert found.calls == calls[-2:-4:-1]
