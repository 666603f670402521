"""When a state flips and when that is told: limits, waits, cool-down, silence; clock given."""

from __future__ import annotations

from typing import Any

from ollama_proxy.alerts import config
from ollama_proxy.alerts.flips import Flips
from ollama_proxy.alerts.rules import Reading

NOW = 1_790_000_000.0


class Story:
    """One rule, looked at each second."""

    def __init__(self, **told: Any) -> None:
        self.rule = config.rules(
            {"r": {"when": "failed_calls", "above": 10, "cooldown": 0, **told}}
        )["r"]
        self.flips = Flips()
        self.second = 0

    def looks(self, *values: float | None, silent: bool = False) -> list[str]:
        """For each look what flipped and what was told, in short: F f O o."""
        found = []
        for value in values:
            self.second += 1
            readings = None if value is None else {"": Reading(value)}
            now = NOW + self.second
            step = self.flips.step(self.rule, readings, float(self.second), now, silent=silent)
            letters = [flip.new[0].upper() for flip in step.flips]
            found.append("".join(letters + [flip.new[0] for flip in step.told]))
        return found


def test_above_the_limit_it_fires_and_at_it_it_does_not() -> None:
    assert Story().looks(10, 11, 12, 10, 11) == ["", "Ff", "", "Oo", "Ff"]


def test_hysteresis_keeps_it_firing_down_to_clear() -> None:
    assert Story(clear=5).looks(11, 8, 6, 11, 5, 8) == ["Ff", "", "", "", "Oo", ""]


def test_it_must_be_bad_for_so_long() -> None:
    assert Story(**{"for": 2}).looks(11, 11, 10, 11, 11, 11) == ["", "", "", "", "", "Ff"]


def test_what_is_not_known_changes_nothing() -> None:
    assert Story(**{"for": 2}).looks(11, None, 11, None, None, 3) == ["", "", "Ff", "", "", "Oo"]


def test_in_the_cool_down_it_flips_but_is_told_only_if_it_goes_on() -> None:
    story = Story(cooldown=10)
    assert story.looks(11, 0, 11, 0) == ["Ff", "Oo", "F", "O"]
    assert story.looks(11, 11, 11, 11, 11, 11, 11, 11) == ["F", "", "", "", "", "", "f", ""]
    assert story.looks(0) == ["Oo"]


def test_a_silence_holds_messages_back_and_they_are_sent_at_its_end() -> None:
    story = Story()
    assert story.looks(11, 0, 11, silent=True) == ["F", "O", "F"]
    assert story.looks(11, 11) == ["f", ""]
    assert story.looks(0, silent=True) == ["Oo"]  # the end of what was told


def test_each_subject_has_its_own_state_and_ends_when_it_is_gone() -> None:
    flips, rule = Flips(), Story(each="model").rule
    bad = Reading(11.0)
    first = flips.step(rule, {"a": bad, "b": Reading(1.0)}, 1.0, NOW)
    second = flips.step(rule, {"a": bad, "b": bad}, 2.0, NOW)
    third = flips.step(rule, {"b": bad}, 3.0, NOW)
    told = [[(flip.subject, flip.new) for flip in step.told] for step in (first, second, third)]
    assert told == [[("a", "firing")], [("b", "firing")], [("a", "ok")]]
    assert list(flips.states["r"]) == ["b"]


def test_a_flip_says_what_was_measured() -> None:
    story = Story(within=60)
    (flip,) = story.flips.step(story.rule, {"": Reading(12.0, "why")}, 1.0, NOW).flips
    assert (flip.rule, flip.kind, flip.old, flip.new) == ("r", "failed_calls", "ok", "firing")
    assert (flip.value, flip.limit, flip.within, flip.detail) == (12.0, 10.0, 60.0, "why")


def test_what_fired_before_a_start_goes_on_and_is_not_told_again() -> None:
    before = Story(cooldown=100)
    (flip,) = before.flips.step(before.rule, {"": Reading(11.0)}, 1.0, NOW).flips
    story = Story(cooldown=100)
    story.flips.restore([flip], 0.0, NOW + 5)
    assert story.looks(11, 11, 0, 11) == ["", "", "Oo", "F"]  # it still cools down


def test_subjects_that_are_fine_are_forgotten() -> None:
    flips, rule = Flips(), Story().rule
    for n in range(1000):
        flips.step(rule, {f"m{n}": Reading(0.0)}, float(n), NOW)
    assert len(flips.states["r"]) <= 1
