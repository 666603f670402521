"""Which model gave way to which: only a look that comes soon can tell."""

from __future__ import annotations

import pytest

from ollama_proxy.insights.rooms import SLACK, SOON, Rooms


@pytest.mark.parametrize(
    ("looks", "gave_way"),
    [
        ([(0, {"a"}), (10.2, set[str]())], True),
        ([(0, {"a"}), (10.2, {"a"}), (11, set[str]())], True),  # it goes a moment later
        (
            [(0, {"a"}), (1, set[str]()), (2, {"a"}), (10.2, set[str]())],
            True,
        ),  # not for the first time
        ([(0, {"a"}), (9, set[str]())], False),  # before its last call had ended
        ([(0, {"a"})], False),  # no look
        ([(0, {"a"}), (10 + SLACK + 0.1, {"a"}), (12, set[str]())], False),  # there was room
        ([(0, {"a"}), (12 + SOON + 0.1, set[str]())], False),  # for another reason
        ([(0, {"b"}), (10.2, set[str]())], False),  # it was never seen
    ],
)
def test_a_model_gave_way_if_it_is_gone_soon_after_its_last_call(
    looks: list[tuple[float, set[str]]], gave_way: bool
) -> None:
    rooms = Rooms()
    for at, loaded in looks:
        rooms.looked(loaded, at)
    assert rooms.gave_way("a", "b", 10.0, 12.0) is gave_way


def test_where_there_was_no_room_before_no_look_is_needed() -> None:
    """On a machine that is busy it may come late."""
    rooms = Rooms()
    rooms.learn("b", "a")
    assert rooms.gave_way("a", "b", 10.0, 12.0)
    assert not rooms.gave_way("c", "b", 10.0, 12.0)
    rooms.looked({"a"}, 10.0 + SLACK + 0.1)
    assert not rooms.gave_way("a", "b", 10.0, 12.0)


def test_two_are_apart_until_both_are_seen_in_memory() -> None:
    rooms = Rooms()
    assert not rooms.apart("a", "b")
    rooms.learn("a", "b")
    rooms.looked({"a"}, 1.0)
    assert rooms.apart("b", "a")
    rooms.looked({"a", "b", "c"}, 2.0)
    assert not rooms.apart("a", "b")
