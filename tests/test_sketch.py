"""What is known of a prompt without its text."""

from __future__ import annotations

import pytest

from ollama_proxy.sketch import CLASSES, MAX_PARTS, counted, sketch


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", {}),
        ("Hello, 42!\n", {"letters": 5, "digits": 2, "blanks": 2, "signs": 2}),
        ("perché così", {"letters": 8, "blanks": 1, "latin": 2}),
        ("привет 東京 🙂", {"other_alphabets": 6, "blanks": 2, "cjk": 2, "others": 1}),
        ("مرحبا한국어", {"other_alphabets": 5, "cjk": 3}),
        ("\x00\x7f", {"signs": 2}),
        ("\ud800", {"others": 1}),
    ],
)
def test_characters_are_counted_by_their_kind(text: str, expected: dict[str, int]) -> None:
    found = dict(zip(CLASSES, counted(text), strict=True))
    assert {kind: count for kind, count in found.items() if count} == expected
    assert sum(found.values()) == len(text)


def test_bytes_are_those_of_utf_8() -> None:
    assert sketch([("user", "perché"), ("user", None)], True).size == 7


def test_marks_tell_that_a_conversation_goes_on() -> None:
    turns = [("system", "be kind"), ("user", "hello"), ("assistant", "hi"), ("user", "and?")]
    first, second = sketch(turns[:2], True), sketch(turns, True)
    assert second.parts[1].mark == first.parts[-1].mark
    other = sketch([("system", "be rude"), *turns[1:]], True)
    assert not {part.mark for part in other.parts} & {part.mark for part in second.parts}


def test_a_conversation_that_is_too_long_is_not_known_as_a_whole() -> None:
    turns = [("user", "x")] * (MAX_PARTS + 1)
    assert sketch(turns[:-1], True).plain
    cut = sketch(turns, True)
    assert (len(cut.parts), cut.plain) == (MAX_PARTS, False)
