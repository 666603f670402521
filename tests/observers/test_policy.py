"""Which privacy a call has, as far as its model and client are known."""

from __future__ import annotations

import pytest

from ollama_proxy.observers.policy import Known, Policy
from ollama_proxy.observers.privacy import Mode, Privacy
from ollama_proxy.settings import PrivacyRule as Rule

USUAL = Privacy.build("truncate")


def known(model: str | None = "", client: str | None = "", route: str = "/api/chat") -> Known:
    return Known(route, model, client)


def modes(privacy: Privacy | None) -> tuple[Mode, Mode] | None:
    return None if privacy is None else (privacy.mode, privacy.of_answers)


def test_without_rules_all_calls_have_the_same() -> None:
    policy = Policy(USUAL)
    assert not policy.has_rules
    assert modes(policy.settled(known(None, None))) == modes(USUAL)


@pytest.mark.parametrize(
    ("rule", "one", "fits"),
    [
        (Rule(model="llama3.2", mode="none"), known("llama3.2"), True),
        (Rule(model="llama3.2", mode="none"), known("LLAMA3.2:latest"), True),
        (Rule(model="llama3.2:latest", mode="none"), known("llama3.2"), True),
        (Rule(model="llama*", mode="none"), known("llama3.2:1b"), True),
        (Rule(model="llama3.2", mode="none"), known("llama3.2:1b"), False),
        (Rule(model="llama3.2", mode="none"), known(""), False),
        (Rule(client="backtest.py", mode="none"), known(client="Backtest.py"), True),
        (Rule(client="backtest.py", mode="none"), known(client="xbacktest.py"), False),
        (Rule(route="/v1/*", mode="none"), known(route="/v1/messages"), True),
        (Rule(route="/v1/*", mode="none"), known(), False),
        (Rule(model="a", client="b", mode="none"), known("a", "b"), True),
        (Rule(model="a", client="b", mode="none"), known("a", "c"), False),
        (Rule(model="a", client="b", route="/x", mode="none"), known("a", "b"), False),
        # Decided by what is known, whatever the rest will be.
        (Rule(model="a", client="b", mode="none"), known("c", None), False),
        (Rule(model="a", client="b", mode="none"), known(None, "c"), False),
        (Rule(model="a", route="/x", mode="none"), known(None), False),
    ],
)
def test_a_rule_is_for_calls_that_fit_all_of_it(rule: Rule, one: Known, fits: bool) -> None:
    wanted = Mode.NONE if fits else Mode.TRUNCATE
    assert modes(Policy(USUAL, [rule]).settled(one)) == (wanted, wanted)


def test_the_first_that_fits_holds() -> None:
    rules = [Rule(client="a*", mode="hash"), Rule(client="ab", mode="none")]
    policy = Policy(USUAL, [*rules, Rule(route="*", mode="full")])
    assert modes(policy.settled(known(client="ab"))) == (Mode.HASH, Mode.HASH)
    assert modes(policy.settled(known(client="b"))) == (Mode.FULL, Mode.FULL)


@pytest.mark.parametrize(
    ("usual", "rule", "wanted"),
    [
        ("truncate", {"mode": "none"}, ("none", "none")),
        ("truncate", {"mode": "full", "responses": "none"}, ("full", "none")),
        ("truncate", {"responses": "none"}, ("truncate", "none")),
        ("hash", {"responses": "full"}, ("hash", "full")),
    ],
)
def test_prompts_and_answers_apart(
    usual: str, rule: dict[str, str], wanted: tuple[str, str]
) -> None:
    policy = Policy(Privacy.build(usual), [Rule(client="*", **rule)])
    assert modes(policy.settled(known())) == tuple(map(Mode, wanted))


def test_until_it_is_known_only_what_all_rules_allow_is_kept() -> None:
    policy = Policy(
        Privacy.build("truncate", answers="full"),
        [Rule(client="a", mode="full", responses="hash"), Rule(client="b", mode="hash")],
    )
    assert policy.settled(known(client=None)) is None
    strictest = policy.strictest(known(client=None))
    assert modes(strictest) == (Mode.HASH, Mode.HASH)
    assert policy.widest(known(client=None)) is Mode.FULL
    assert modes(policy.strictest(known(client="a"))) == (Mode.FULL, Mode.HASH)


def test_a_hash_may_yet_take_the_whole_text() -> None:
    policy = Policy(Privacy.build("none"), [Rule(client="a", mode="hash")])
    assert policy.widest(known(client=None)) is Mode.FULL


def test_what_makes_no_difference_need_not_be_known() -> None:
    policy = Policy(USUAL, [Rule(client="a", mode="truncate")])
    assert modes(policy.settled(known(client=None))) == (Mode.TRUNCATE, Mode.TRUNCATE)


@pytest.mark.parametrize(
    ("said", "mode"),
    [("none", "none"), (" FULL ", "full"), ("hash", "hash"), ("", "none"), ("fulll", "none")],
)
def test_a_call_asks_for_itself_and_a_wrong_word_keeps_nothing(said: str, mode: str) -> None:
    assert modes(Policy(USUAL).asked(said)) == (Mode(mode), Mode(mode))
