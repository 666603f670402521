"""Watches the rules: looks at the facts now and then, keeps what flipped, tells the notifiers.

One task, beside the notifiers' own; nothing of a call waits for it. A rule that fails is logged and
leaves the others alone. What the store does not take is tried again at the next look. Not here:
rules, states, notifiers, words.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from typing import Any, Protocol

import msgspec

from ollama_proxy.alerts.config import Rule
from ollama_proxy.alerts.delivering import Delivery
from ollama_proxy.alerts.facts import Facts
from ollama_proxy.alerts.flips import Flips, Step, taken_away
from ollama_proxy.alerts.message import Message
from ollama_proxy.alerts.rules import judge
from ollama_proxy.ids import iso, new_id
from ollama_proxy.logs import where
from ollama_proxy.records import Flip

log = logging.getLogger(__name__)

MOST_UNSAVED = 1000
STOP_SECONDS = 2.0
_EARLY = 0.01  # a timer may come a little before its time


class Kept(Protocol):
    """Where flips and silences outlast the proxy; both may raise."""

    def flip(self, flips: Sequence[Flip]) -> None: ...

    def silence(self, rule: str, until: float) -> None: ...


class Standing(msgspec.Struct, frozen=True):
    """What was kept before: each subject's last flip, and until when rules are silenced (seconds
    since 1970)."""

    latest: Sequence[Flip] = ()
    silences: Mapping[str, float] = {}


class Watching:
    """`start`, then `stop`, on one event loop. `say`: a flip's title and text."""

    def __init__(
        self,
        *,
        rules: Mapping[str, Rule],
        every: float,
        deliveries: Sequence[Delivery],
        gather: Callable[[Collection[str]], Awaitable[Facts]],
        kept: Kept,
        say: Callable[[Flip, bool], tuple[str, str]],
        standing: Standing,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], float] = time.time,
    ) -> None:
        self.rules, self.deliveries = rules, {one.name: one for one in deliveries}
        self.checked: dict[str, float] = {}  # when a rule was last looked at, since 1970
        self.flips = Flips()
        self.every, self._gather, self._kept, self._say = every, gather, kept, say
        self._clock, self._now = clock, now
        self.silences = dict(standing.silences)
        on = [name for name, rule in rules.items() if rule.on]
        latest = [flip for flip in standing.latest if flip.rule in on]
        self.flips.restore(latest, clock(), now())
        self._left = [
            flip for flip in standing.latest if flip.rule not in on and flip.new == "firing"
        ]
        self._due = dict.fromkeys(on, float("-inf"))
        self._unsaved: deque[Flip] = deque(maxlen=MOST_UNSAVED)
        self._saving: asyncio.Task[None] | None = None
        self._failing = False
        self._failed: set[str] = set()
        self._task: asyncio.Task[None] | None = None
        self._ending: set[asyncio.Task[None]] = set()

    def start(self) -> None:
        for delivery in self.deliveries.values():
            delivery.start()
        for flip in self._left:
            rule = self.rules.get(flip.rule)
            names = self.deliveries if rule is None else self.notified(rule)
            self._end(flip, [self.deliveries[name] for name in names])
        self._keep()
        self._begin()

    def use(
        self, rules: Mapping[str, Rule], every: float, deliveries: Mapping[str, Delivery]
    ) -> None:
        """Others from now on. States and silences stay, by the names of rules that are on; what
        fires of others is over. Deliveries that are given again stay; another one of the same name
        takes over what its predecessor has not sent."""
        before, self.deliveries = self.deliveries, dict(deliveries)
        for name, delivery in self.deliveries.items():
            if before.get(name) is not delivery:
                if name in before:
                    delivery.take_over(before[name])
                delivery.start()
        self._end_all_but({name for name, rule in rules.items() if rule.on}, before)
        self._tell_again(before)
        for name, delivery in before.items():
            if self.deliveries.get(name) is not delivery:
                ending = asyncio.create_task(delivery.stop(STOP_SECONDS))
                self._ending.add(ending)
                ending.add_done_callback(self._ending.discard)
        self.rules, self.every = rules, every
        self._due = {name: float("-inf") for name, rule in rules.items() if rule.on}
        states = self.flips.states
        self.flips.states = {name: states[name] for name in states if name in self._due}
        if self._task is not None:
            self._task.cancel()
            self._task = None
        self._keep()
        self._begin()

    def _end_all_but(self, on: set[str], before: Mapping[str, Delivery]) -> None:
        known = {**before, **self.deliveries}
        for name in [one for one in self.flips.states if one not in on]:
            notify = self.rules[name].notify
            told = [known[one] for one in (before if notify is None else notify)]
            for state in self.flips.states[name].values():
                if state.flip is not None:
                    self._end(state.flip, told if state.told else ())

    def _tell_again(self, before: Mapping[str, Delivery]) -> None:
        """At the next look: what notifiers that are no more did not send, and nobody else does."""
        gone = [one for name, one in before.items() if self.deliveries.get(name) is not one]
        for states in self.flips.states.values():
            for state in states.values():
                flip = "" if state.flip is None else state.flip.id
                left = {one.outcome(flip) for one in gone} - {None}
                here = {one.outcome(flip) for one in self.deliveries.values()}
                if left and "sent" not in left and here.isdisjoint({"sent", "waiting"}):
                    state.told, state.told_at = False, None

    def _end(self, flip: Flip, told: Iterable[Delivery]) -> None:
        over = taken_away(flip, self._now())
        self._unsaved.append(over)
        message = Message(over, *self._say(over, False))
        for delivery in told:
            delivery.put(message)

    def _begin(self) -> None:
        if self._due:
            self._task = asyncio.create_task(self._run(), name="alerts")

    async def stop(self) -> None:
        """What is to be told gets a little time."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
        stops = (one.stop(STOP_SECONDS) for one in self.deliveries.values())
        await asyncio.gather(*stops, *self._ending)
        if self._saving is not None:
            await asyncio.wait([self._saving])
        if self._unsaved:
            await self._save()

    async def check(self) -> None:
        """One look at the rules that are due."""
        moment = self._clock()
        due = [self.rules[name] for name, at in self._due.items() if at <= moment + _EARLY]
        if not due:
            return
        for rule in due:
            self._due[rule.name] = moment + (rule.every or self.every)
        facts = await self._gather({rule.when for rule in due})
        for rule in due:
            self._look(rule, facts)
        self._keep()

    def _keep(self) -> None:
        if self._unsaved and (self._saving is None or self._saving.done()):
            self._saving = asyncio.create_task(self._save(), name="flips")

    def silence(self, rule: str, seconds: float) -> None:
        """No message of this rule's for so long; 0 ends that."""
        if seconds:
            self.silences[rule] = self._now() + seconds
        else:
            self.silences.pop(rule, None)

    async def keep_silence(self, rule: str) -> None:
        """So that it outlasts a restart. Raises what the store raises."""
        await asyncio.to_thread(self._kept.silence, rule, self.silences.get(rule, 0.0))

    def silenced_until(self, rule: str) -> float | None:
        """Seconds since 1970; None: it is not."""
        until = self.silences.get(rule, 0.0)
        return until if until > self._now() else None

    async def test(self, names: Sequence[str], rule: Rule | None) -> dict[str, str | None]:
        """Send a test, as if of this rule, by these notifiers; the errors, if any, by name."""
        flip = self._sample(rule)
        title, text = self._say(flip, True)
        message = Message(flip, title, text, test=True)
        errors = await asyncio.gather(*(self.deliveries[name].test(message) for name in names))
        return dict(zip(names, errors, strict=True))

    async def _run(self) -> None:
        shortest = min((self.rules[name].every or self.every) for name in self._due)
        while True:
            try:
                await self.check()
            except Exception as error:  # noqa: BLE001 - guard: background loop
                self._log_once("gathering", error)
            await asyncio.sleep(min(shortest, self.every))

    def _look(self, rule: Rule, facts: Facts) -> None:
        try:
            readings = judge(rule, facts)
            silent = self.silenced_until(rule.name) is not None
            now = self._now()
            step = self.flips.step(rule, readings, facts.moment, now, silent=silent)
            self.checked[rule.name] = now
            self._tell(rule, step)
        except Exception as error:  # noqa: BLE001 - guard: background loop
            self._log_once(rule.name, error)

    def _tell(self, rule: Rule, step: Step) -> None:
        self._unsaved.extend(step.flips)
        for flip in step.told:
            title, text = self._say(flip, False)
            message = Message(flip, title, text)
            for name in self.notified(rule):
                self.deliveries[name].put(message)

    def notified(self, rule: Rule) -> list[str]:
        """The names of its notifiers."""
        return list(self.deliveries if rule.notify is None else rule.notify)

    def _sample(self, rule: Rule | None) -> Flip:
        now = self._now()
        told: dict[str, Any] = {"id": new_id(now), "at": iso(now), "subject": "", "value": 0.0}
        rule = rule or self.rules["ollama_down"]
        told |= {"rule": rule.name, "kind": rule.when, "old": "ok", "new": "firing"}
        return Flip(**told, limit=rule.above, within=rule.within)

    async def _save(self) -> None:
        saving = list(self._unsaved)
        try:
            await asyncio.to_thread(self._kept.flip, saving)
        except Exception as error:  # noqa: BLE001 - guard: background loop
            if not self._failing:
                log.warning("an alert's flip could not be stored yet: %s", where(error))
            self._failing = True
            return
        self._failing = False
        for flip in saving:
            if self._unsaved and self._unsaved[0] is flip:
                self._unsaved.popleft()

    def _log_once(self, name: str, error: Exception) -> None:
        if name not in self._failed:
            self._failed.add(name)
            log.error("alert %s failed: %s", name, where(error))
