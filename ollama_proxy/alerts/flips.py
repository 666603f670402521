"""From readings to states: when a rule's state flips, and when a message says so. Pure.

A subject is bad above the rule's limit and good again at its `clear`. A flip to firing waits until
it was bad `for_` so long. Each flip is kept; a message of one that fires waits while the rule is
silenced or cools down, and is sent then if it still fires. What was told as firing is told when it
is over, whatever the silence. Not here: clocks, storage, sending.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import msgspec

from ollama_proxy.alerts.config import Rule
from ollama_proxy.alerts.rules import Reading, Readings
from ollama_proxy.ids import epoch, iso, new_id
from ollama_proxy.records import Flip

OVER = Reading(0.0)
TAKEN_AWAY = "the rule was taken away"
"""The detail of a flip to ok without a look."""


class State(msgspec.Struct):
    """Of one subject. `flip`: the one by which it fires. `bad_since` and `told_at` are moments;
    `told` says whether a message told that it fires."""

    reading: Reading = OVER
    flip: Flip | None = None
    bad_since: float | None = None
    told: bool = False
    told_at: float | None = None

    @property
    def name(self) -> Literal["ok", "pending", "firing"]:
        if self.flip is not None:
            return "firing"
        return "ok" if self.bad_since is None else "pending"


class Step(msgspec.Struct):
    """What one look at a rule leads to: flips to keep, and those to tell."""

    flips: list[Flip] = []
    told: list[Flip] = []


class Flips:
    """The states of all rules, by rule and subject."""

    def __init__(self) -> None:
        self.states: dict[str, dict[str, State]] = {}

    def restore(self, latest: Iterable[Flip], moment: float, now: float) -> None:
        """The last flip of each subject, from before: what fired then was told then."""
        for flip in latest:
            if flip.new == "firing":
                told_at = moment - max(0.0, now - epoch(flip.at))
                state = State(Reading(flip.value, flip.detail), flip, None, True, told_at)
                self.states.setdefault(flip.rule, {})[flip.subject] = state

    def step(
        self,
        rule: Rule,
        readings: Readings | None,
        moment: float,
        now: float,
        *,
        silent: bool = False,
    ) -> Step:
        """One look at a rule. `moment` is of a monotonic clock, `now` seconds since 1970. Of
        subjects that are not read any more it is over."""
        step = Step()
        if readings is None:
            return step
        known = self.states.setdefault(rule.name, {})
        for subject in readings | dict.fromkeys(known):
            state = known.setdefault(subject, State())
            state.reading = readings.get(subject, OVER)
            self._judge(step, rule, subject, state, moment, now)
            cool = state.told_at is None or moment - state.told_at >= rule.cooldown
            if state.flip is not None and not state.told and cool and not silent:
                state.told, state.told_at = True, moment
                step.told.append(state.flip)
            if state.name == "ok" and cool:
                del known[subject]
        return step

    def _judge(
        self, step: Step, rule: Rule, subject: str, state: State, moment: float, now: float
    ) -> None:
        limit = (rule.above if state.flip is None else rule.clear) or 0.0
        if state.reading.value <= limit:
            state.bad_since = None
            if state.flip is not None:
                flip = _flip(rule, subject, state.reading, now, firing=False)
                step.flips.append(flip)
                if state.told:
                    step.told.append(flip)
                state.flip, state.told = None, False
            return
        if state.flip is not None:
            return
        if state.bad_since is None:
            state.bad_since = moment
        if moment - state.bad_since >= rule.for_:
            state.flip = _flip(rule, subject, state.reading, now, firing=True)
            state.bad_since = None
            step.flips.append(state.flip)


def taken_away(flip: Flip, now: float) -> Flip:
    """The end of one that fires and whose rule is there, or on, no more."""
    told = {"id": new_id(now), "at": iso(now), "old": "firing", "new": "ok", "detail": TAKEN_AWAY}
    return msgspec.structs.replace(flip, **told)


def _flip(rule: Rule, subject: str, reading: Reading, now: float, *, firing: bool) -> Flip:
    return Flip(
        id=new_id(now),
        at=iso(now),
        rule=rule.name,
        kind=rule.when,
        subject=subject,
        old="ok" if firing else "firing",
        new="firing" if firing else "ok",
        value=reading.value,
        limit=rule.above,
        within=rule.within,
        detail=reading.detail,
    )
