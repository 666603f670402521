"""An answer that has fallen into a loop is heard to have, in every dialect and however it came."""

from __future__ import annotations

import pytest

from ollama_proxy.exchange import Observation
from ollama_proxy.observers import ROUTES, Privacy
from ollama_proxy.observers.budget import Budget
from ollama_proxy.observers.passed import ALL as HELD
from ollama_proxy.observers.passed import JOINED, MOST, MOST_TEXT, Passed, Recent
from ollama_proxy.simulator.script import Piece
from tests.observers.spoken import ALL, asked, say, think, units, whole

PROSE = [f"word{number} " for number in range(300)]
UNIT = ["I ", "think ", "that ", "it ", "will ", "rise ", "again. "]


def heard(
    path: str, texts: list[Piece], reason: str, privacy: Privacy, block: int = 8192
) -> Observation:
    call = asked(path, b"".join(units(path, texts, reason=reason)), privacy)
    observer = ROUTES[call.method, call.path](Observation(), privacy)
    observer.request(call.body, True)
    observer.response(call.status, call.content_type, "")
    for at in range(0, len(call.answer), block):
        observer.feed(call.answer[at : at + block])
    observer.close(True)
    return observer.observation


@pytest.mark.parametrize("mode", ["full", "truncate", "none"])
@pytest.mark.parametrize("path", ALL)
def test_a_loop_is_heard_with_where_it_began(path: str, mode: str) -> None:
    seen = heard(path, say(*PROSE, *UNIT * 40), "length", Privacy.build(mode))
    # Where all is read, the pieces are only known to be so many of so many characters.
    off = 0.15 if mode == "full" else 0.02
    assert seen.looped == pytest.approx(273 / 580, abs=off)


@pytest.mark.parametrize("path", ALL)
def test_an_answer_that_only_goes_on_is_none(path: str) -> None:
    seen = heard(path, say(*PROSE * 3), "length", Privacy.build("truncate"))
    assert seen.looped is None


@pytest.mark.parametrize("path", [path for path in ALL if path != "/v1/responses"])
def test_a_model_that_stopped_by_itself_was_in_none(path: str) -> None:
    seen = heard(path, say(*PROSE, *UNIT * 40), "stop", Privacy.build("truncate"))
    assert seen.looped is None


def test_a_loop_of_thoughts_is_one_too() -> None:
    seen = heard("/api/chat", think(*PROSE, *UNIT * 40), "length", Privacy.build("truncate"))
    assert seen.looped


@pytest.mark.parametrize("path", ALL)
def test_an_answer_in_one_object_is_listened_to(path: str) -> None:
    seen = whole(path, text="".join(PROSE + UNIT * 40), reason="length").facts()
    assert seen.looped == pytest.approx(
        len("".join(UNIT)) * 39 / len("".join(PROSE + UNIT * 40)), abs=0.02
    )


@pytest.mark.parametrize("mode", ["full", "truncate"])
def test_a_long_loop_is_told_in_full(mode: str) -> None:
    seen = heard("/api/chat", say(*PROSE, *UNIT * 300), "length", Privacy.build(mode))
    assert seen.looped == pytest.approx(2093 / 2400, abs=0.07)


def test_a_long_loop_in_one_object_is_told_in_full() -> None:
    text = "".join([*PROSE[:100], *UNIT * 200])
    seen = whole("/api/chat", text=text, reason="length").facts()
    assert seen.looped == pytest.approx(len("".join(UNIT)) * 199 / len(text), abs=0.02)


def test_of_two_loops_the_last_one_counts() -> None:
    other = ["but ", "then ", "again ", "who ", "can ", "tell. "]
    texts = say(*PROSE * 2, *UNIT * 50, *PROSE * 3, *other * 50)
    seen = heard("/api/chat", texts, "length", Privacy.build("truncate"))
    assert seen.looped == pytest.approx(300 / 2150, abs=0.05)


@pytest.mark.parametrize(("lines", "told"), [(100, True), (5000, False)])
def test_among_lines_that_say_something_else_few_are_read_one_by_one(
    lines: int, told: bool
) -> None:
    said = b"".join(units("/api/chat", say(*PROSE, *UNIT * 60), end=False))
    call = asked("/api/chat", said, Privacy.build("none"))
    observer = ROUTES[call.method, call.path](Observation(), call.privacy)
    observer.request(call.body, True)
    observer.response(call.status, call.content_type, "")
    for at in range(0, len(said), 512):
        observer.feed(said[at : at + 512])
    observer.feed(b'{"message": 7}\n' * lines)
    observer.close(True)
    assert (observer.observation.looped is not None) == told


def test_while_it_runs_a_loop_is_heard_now_and_then() -> None:
    call = asked("/api/chat", b"".join(units("/api/chat", say(*UNIT * 600), end=False)))
    observer = ROUTES[call.method, call.path](Observation(), Privacy.build("truncate"))
    observer.request(call.body, True)
    observer.response(call.status, call.content_type, "")
    observer.feed(call.answer)
    assert observer.observation.looped  # as far as it was heard


def test_a_loop_that_was_left_is_forgotten() -> None:
    texts = say(*UNIT * 600, *PROSE * 3)
    seen = heard("/api/chat", texts, "length", Privacy.build("truncate"))
    assert seen.looped is None


class TestWhatIsKeptForIt:
    def test_no_more_than_the_last(self) -> None:
        passed = Passed(b"\n")
        for number in range(1000):
            passed.add(b"%04d " % number + b"x" * 994 + b"\n")
        block = passed.block()
        assert MOST <= len(block) < MOST + 1000
        assert block.endswith(b"0999 " + b"x" * 994 + b"\n") and block[4:5] == b" "

    def test_of_a_long_block_only_whole_lines(self) -> None:
        passed = Passed(b"\n")
        passed.add((b"a" * 999 + b"\n") * 200)
        assert MOST - 1000 <= len(passed.block()) <= MOST
        assert passed.block().startswith(b"a" * 999 + b"\n")
        passed.add(b"b" * 2 * MOST + b"\n")
        assert passed.block() == b""

    def test_all_calls_together_keep_no_more_than_the_budget_and_a_block_each(self) -> None:
        budget = Budget(100_000)
        streams = [Passed(b"\n", budget) for _ in range(10)]
        for _ in range(50):
            for passed in streams:
                passed.add(b"x" * 999 + b"\n")
        assert budget.held <= 100_000
        for passed in streams:
            passed.clear()
        assert budget.held == 0

    def test_of_a_text_no_more_than_its_end(self) -> None:
        recent = Recent()
        for number in range(40_000):
            recent.add(str(number % 10))
            assert len(recent._text) <= MOST_TEXT and len(recent._new) <= JOINED + 1
        assert recent.text() == "0123456789" * (MOST_TEXT // 10)

    def test_what_was_kept_is_given_back_at_the_end(self) -> None:
        before = HELD.held
        heard("/api/chat", say(*PROSE * 3), "length", Privacy.build("truncate"))
        assert HELD.held == before


@pytest.mark.parametrize("pings", [0, 20])
def test_a_stream_that_says_more_than_it_has_pieces_is_no_more_than_all_loop(pings: int) -> None:
    """Events without a name are heard, but no pieces."""
    start = units("/v1/messages", say("a" * pings), end=False)
    said = b'data: {"type":"content_block_delta","delta":{"type":"text_delta","text":"%b"}}\n\n'
    answer = b"".join(start) + b"".join(said % word.encode() for word in UNIT * 400)
    call = asked("/v1/messages", answer, Privacy.build("none"))
    observer = ROUTES[call.method, call.path](Observation(), call.privacy)
    observer.request(call.body, True)
    observer.response(call.status, call.content_type, "")
    observer.feed(call.answer)
    observer.close(True)
    assert observer.observation.not_understood == 0
    assert observer.observation.looped is None or 0 <= observer.observation.looped <= 1
