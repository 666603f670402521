"""Changes in Ollama in the store: they outlast a restart, and are bounded and forgotten."""

from __future__ import annotations

from pathlib import Path

from ollama_proxy.ids import first_id, iso
from ollama_proxy.records import Filter, Mark
from ollama_proxy.storage import marks
from ollama_proxy.storage.sqlite import SECONDS_A_DAY, SqliteStore
from tests.storage.calls import NOON


def mark(at: float = NOON, *, old: str | None = "a", new: str = "b", subject: str = "m") -> Mark:
    return Mark(id=first_id(at), at=iso(at), kind="digest", subject=subject, old=old, new=new)


def test_they_are_read_back_newest_first_after_a_restart(store: SqliteStore) -> None:
    first, second = mark(), mark(NOON + 60, old="b", new="c")
    store.mark([first, mark(subject="new", old=None)])
    store.mark([second, first])
    store.close()
    store.open()
    assert store.marks(Filter()) == [second, first]
    assert store.marks(Filter(limit=1)) == [second]
    assert store.marks(Filter(since=first_id(NOON + 30))) == [second]
    assert store.marks(Filter(until=first_id(NOON + 30))) == [first]
    assert store.known()["digest", "new"] == "b"


def test_the_last_value_is_what_is_known(store: SqliteStore) -> None:
    store.mark([mark(), mark(NOON + 1, old="b", new="c")])
    assert store.known() == {("digest", "m"): "c"}


def test_only_the_newest_are_kept(store: SqliteStore) -> None:
    made = [mark(NOON + n) for n in range(marks.MOST + 5)]
    store.mark(made)
    assert store.marks(Filter(limit=2 * marks.MOST)) == made[:4:-1]


def test_they_are_forgotten_with_the_calls_of_their_time(path: Path) -> None:
    store = SqliteStore(path, clock=lambda: NOON + 2 * SECONDS_A_DAY)
    store.open()
    old, young = mark(), mark(NOON + 1.5 * SECONDS_A_DAY, subject="other")
    store.mark([old, young])
    store.prune(1, None)
    assert store.marks(Filter()) == [young]
    assert len(store.known()) == 2
    store.prune(None, None)
    assert store.marks(Filter()) == [young]
    store.close()
