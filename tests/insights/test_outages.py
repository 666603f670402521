"""Calls that find no Ollama are of one outage until it has been there for a while."""

from __future__ import annotations

from ollama_proxy.insights.outages import BRIEF, Outages


def test_calls_that_miss_ollama_one_after_the_other_are_of_one_outage() -> None:
    outages = Outages()
    assert [
        outages.missed(name, at, at + 0.1) for name, at in (("a", 1), ("b", 900), ("c", 9000))
    ] == ["a"] * 3


def test_after_ollama_was_there_for_a_while_it_is_another_one() -> None:
    outages = Outages()
    outages.missed("a", 10.0, 10.1)
    outages.answered(20.0)
    outages.answered(20.0 + BRIEF + 5)
    assert outages.missed("b", 20.0 + BRIEF + 1, 20.0 + BRIEF + 2) == "b"


def test_what_comes_and_goes_is_one() -> None:
    outages = Outages()
    for at in range(0, 600, 30):
        assert outages.missed(str(at), at, at + 0.1) == "0"
        outages.answered(at + 10)


def test_an_answer_that_had_come_before_is_no_sign_that_it_is_back() -> None:
    outages = Outages()
    outages.missed("a", 10.0, 15.0)
    outages.answered(12.0)  # told late, of a call that had a connection
    assert outages.missed("b", 500.0, 500.1) == "a"


def test_who_waited_long_for_a_connection_is_of_the_outage_in_which_it_began() -> None:
    outages = Outages()
    outages.missed("a", 10.0, 10.1)
    outages.answered(100.0)
    assert outages.missed("b", 90.0, 200.0) == "a"
