"""What a call would take now: from calls that were seen, and those that run."""

from __future__ import annotations

from typing import Any

from ollama_proxy.insights.estimate import LEAST, MAX_MODELS, Ahead, Estimate, Estimator, Spread
from tests.storage.calls import make_call


def learnt(count: int = 20, **fields: Any) -> Estimator:
    """Calls that read 1,000 bytes in a second and write 50 tokens in five."""
    estimator = Estimator()
    teach(estimator, count, **fields)
    return estimator


def teach(estimator: Estimator, count: int, **fields: Any) -> None:
    known: dict[str, Any] = {"client": "a.py", "input_tokens": 250, "prefill": 1.0}
    known |= {"output_tokens": 50, "decode": 5.0}
    for _ in range(count):
        estimator.ended("m", make_call(**known | fields), 1000, None)


def asked(estimator: Estimator, **more: Any) -> Estimate:
    known: dict[str, Any] = {"size": 1000, "most": None, "client": "a.py", "ahead": ()}
    found = estimator.estimate("m", **{**known, "slots": 1, "loaded": True, **more})
    assert found is not None
    return found


def alone(seconds: float) -> Spread:
    """To the microsecond."""
    return Spread(seconds, seconds)


def rounded(spread: Spread) -> Spread:
    return Spread(round(spread.p50, 6), round(spread.p95, 6))


def test_of_a_model_that_was_hardly_called_nothing_is_said() -> None:
    few = learnt(LEAST - 1)
    assert few.estimate("m", size=1, most=1, client=None, ahead=(), slots=1, loaded=True) is None


def test_a_free_model_takes_what_it_took() -> None:
    found = asked(learnt())
    assert (rounded(found.queue), rounded(found.load)) == (alone(0), alone(0))
    assert (rounded(found.first_token), rounded(found.total)) == (alone(1), alone(6))
    assert (found.ahead, found.calls) == (0, 20)


def test_a_longer_prompt_and_a_shorter_answer() -> None:
    found = asked(learnt(), size=4000, most=10)
    assert (rounded(found.first_token), rounded(found.total)) == (alone(4), alone(5))


def test_no_more_of_a_prompt_is_read_than_the_context_holds() -> None:
    found = asked(learnt(), size=1_000_000, context=1000)
    assert rounded(found.first_token) == alone(4)


def test_who_is_ahead_is_waited_for_less_what_is_done() -> None:
    ahead = [Ahead("a.py", 40), Ahead("a.py", None)]
    found = asked(learnt(), ahead=ahead)
    assert (rounded(found.queue), found.ahead) == (alone(1 + 6), 2)
    assert rounded(asked(learnt(), ahead=ahead, slots=2).queue) == alone(1)
    assert rounded(asked(learnt(), ahead=ahead, slots=3).queue) == alone(0)


def test_each_client_is_known_by_its_own_calls() -> None:
    estimator = learnt()
    teach(estimator, 20, client="long.py", decode=50.0, output_tokens=500)
    assert rounded(asked(estimator, client="long.py").total) == alone(51)
    assert rounded(asked(estimator, ahead=[Ahead("long.py", None)]).queue) == alone(51)
    both = asked(estimator, client="new.py")
    assert both.calls == 40
    assert (both.total.p50, both.total.p95) == (6, 51)


def test_a_model_that_is_not_loaded_is_loaded_first() -> None:
    estimator = learnt()
    assert rounded(asked(estimator, loaded=False).load) == alone(0)  # how long is not known
    for seconds in (2.0, 2.0, 9.0):
        estimator.ended("m", make_call(), 0, seconds)
    found = asked(estimator, loaded=False)
    assert (found.load.p50, found.load.p95) == (2, 9)


def test_the_same_is_answered_to_the_same() -> None:
    estimator = learnt()
    teach(estimator, 20, client="b.py", decode=50.0)
    ahead = [Ahead("c.py", None)] * 30
    assert asked(estimator, ahead=ahead) == asked(estimator, ahead=ahead)


def test_it_remembers_no_more_models_than_it_may() -> None:
    estimator = Estimator()
    for number in range(MAX_MODELS + 10):
        call = make_call(input_tokens=1, prefill=1.0, decode=1.0)
        estimator.ended(f"m{number}", call, 10, 1.0)
    assert len(estimator._past) == MAX_MODELS
