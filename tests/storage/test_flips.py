"""Flips of alerts in the store: they outlast a restart, are bounded and forgotten; silences."""

from __future__ import annotations

from pathlib import Path

from ollama_proxy.ids import first_id, iso
from ollama_proxy.records import Filter, Flip
from ollama_proxy.storage import flips
from ollama_proxy.storage.sqlite import SECONDS_A_DAY, SqliteStore
from tests.storage.calls import NOON


def flip(at: float = NOON, new: str = "firing", rule: str = "r", subject: str = "") -> Flip:
    return Flip(
        id=first_id(at),
        at=iso(at),
        rule=rule,
        kind="queue",
        subject=subject,
        old="ok",
        new=new,
        value=12.0,
        limit=10.0,
        within=None,
        detail="a · m",
    )


def test_they_are_read_back_newest_first_after_a_restart(store: SqliteStore) -> None:
    first, second = flip(), flip(NOON + 60, "ok")
    store.flip([first])
    store.flip([second, first])
    store.close()
    store.open()
    assert store.flips(Filter()) == [second, first]
    assert store.flips(Filter(limit=1)) == [second]
    assert store.flips(Filter(before=second.id)) == [first]
    assert store.flips(Filter(since=first_id(NOON + 30))) == [second]


def test_what_stands_is_the_last_of_each_subject_and_the_silences(store: SqliteStore) -> None:
    store.flip(
        [flip(), flip(NOON + 1, "ok"), flip(NOON + 2, subject="m"), flip(NOON + 3, rule="q")]
    )
    store.silence("r", NOON + 100)
    store.silence("q", NOON + 50)
    store.silence("q", 0)
    latest, silences = store.standing()
    assert sorted((one.rule, one.subject, one.new) for one in latest) == [
        ("q", "", "firing"),
        ("r", "", "ok"),
        ("r", "m", "firing"),
    ]
    assert silences == {"r": NOON + 100}


def test_only_the_newest_are_kept_and_each_subjects_last(store: SqliteStore) -> None:
    store.flip([flip(subject="old")])
    store.flip([flip(NOON + n, subject="new") for n in range(1, flips.MOST + 5)])
    found = store.flips(Filter(limit=2 * flips.MOST))
    assert len(found) == flips.MOST + 1
    assert found[-1].subject == "old"


def test_they_are_forgotten_with_the_calls_of_their_time(path: Path) -> None:
    store = SqliteStore(path, clock=lambda: NOON + 2 * SECONDS_A_DAY)
    store.open()
    young = flip(NOON + 1.5 * SECONDS_A_DAY, "ok")
    store.flip([flip(), young, flip(NOON + 1, subject="still")])
    store.prune(1, None)
    assert [one.subject for one in store.flips(Filter())] == ["", "still"]
    store.close()
