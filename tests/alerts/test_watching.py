"""Who watches: the examples of the example file, what is silenced, what the store does not take."""

from __future__ import annotations

import logging
import re
from collections.abc import Collection, Sequence
from typing import Any

import pytest

from ollama_proxy.alerts import config
from ollama_proxy.alerts.config import Rule
from ollama_proxy.alerts.delivering import Delivery
from ollama_proxy.alerts.facts import Facts, Window
from ollama_proxy.alerts.kinds import KINDS
from ollama_proxy.alerts.message import Message
from ollama_proxy.alerts.watching import Standing, Watching
from ollama_proxy.records import Flip
from tests.admin.support import WORDS
from tests.alerts.receivers import until
from tests.storage.calls import make_call
from tests.test_config import EXAMPLE, from_file

NOW = 1_790_000_000.0


class Inbox:
    """A notifier that keeps what it is sent."""

    seconds = 1.0

    def __init__(self) -> None:
        self.came: list[Message] = []

    async def send(self, message: Message) -> None:
        self.came.append(message)


class World:
    """A watch over facts that a test sets, with a clock that it turns."""

    def __init__(self, rules: dict[str, Rule], **facts: Any) -> None:
        self.moment, self.full = 1000.0, False
        self.window, self.facts = Window(600.0), facts
        self.flips: list[Flip] = []
        self.silences: dict[str, float] = {}
        self.asked: list[set[str]] = []
        self.inboxes = {name: Inbox() for name in ("phone", "desktop")}
        self.watching = Watching(
            rules=rules,
            every=10.0,
            deliveries=[Delivery(name, "test", one) for name, one in self.inboxes.items()],
            gather=self.gather,
            kept=self,
            say=lambda flip, test: (flip.rule, "test" if test else flip.new),
            standing=Standing(),
            clock=lambda: self.moment,
            now=lambda: NOW + self.moment,
        )
        for delivery in self.watching.deliveries.values():
            delivery.start()

    def flip(self, flips: Sequence[Flip]) -> None:
        if self.full:
            raise OSError("disk full")
        self.flips += flips

    def silence(self, rule: str, until: float) -> None:
        self.silences[rule] = until

    async def gather(self, kinds: Collection[str]) -> Facts:
        self.asked.append(set(kinds))
        return Facts(**{"moment": self.moment, "window": self.window, **self.facts})

    async def after(self, seconds: float) -> list[tuple[str, str]]:
        """What the phone was told by then."""
        self.moment += seconds
        await self.watching.check()
        await until(lambda: not any(one.waiting for one in self.watching.deliveries.values()))
        return [(one.title, one.text) for one in self.inboxes["phone"].came]


def rules(**told: Any) -> dict[str, Rule]:
    return config.rules(told)


async def test_the_examples_of_the_example_file_work_as_written() -> None:
    tables = re.search(r"(?ms)^#\[alerts\..*?(?=^\[log)", EXAMPLE.read_text())
    assert tables is not None
    found = from_file(re.sub(r"(?m)^#(?=\[|\w+ = )", "", tables[0])).alerts
    world = World(dict(found.rules), up=True)
    assert await world.after(0.0) == []
    for _ in range(10):
        world.window.add(make_call(state="failed", duration=1.0), world.moment)
    assert await world.after(10.0) == []  # ten are not more than ten
    world.window.add(make_call(state="failed", duration=1.0), world.moment)
    assert await world.after(200.0) == []  # looked at each five minutes
    assert await world.after(90.0) == [("failed_calls", "firing")]
    world.window.add(make_call(model="m", duration=61.0), world.moment)
    told = await world.after(300.0)
    assert told[1:] == [("failed_calls", "ok"), ("mean_duration", "firing")]
    assert [one.text for one in world.inboxes["desktop"].came] == [text for _, text in told]
    assert world.asked[0] == {"failed_calls", "mean_duration", "call_silent", "ollama_down"}
    assert world.asked[1] == {"call_silent", "ollama_down"}


async def test_a_rule_tells_the_notifiers_that_it_names() -> None:
    world = World(rules(ollama_down={"for": 0, "notify": ["phone"]}), up=False)
    assert await world.after(0.0) == [("ollama_down", "firing")]
    assert world.inboxes["desktop"].came == []


async def test_a_silence_ends_and_what_still_fires_is_told() -> None:
    world = World(rules(ollama_down={"for": 0}), up=False)
    world.watching.silence("ollama_down", 60)
    await world.watching.keep_silence("ollama_down")
    assert world.silences == {"ollama_down": NOW + 1060}
    assert await world.after(0.0) == []
    assert await world.after(50.0) == []
    await until(lambda: len(world.flips) == 1)
    assert await world.after(20.0) == [("ollama_down", "firing")]


async def test_what_the_store_does_not_take_is_told_and_stored_later(
    caplog: pytest.LogCaptureFixture,
) -> None:
    world = World(rules(ollama_down={"for": 0}), up=False)
    world.full = True
    with caplog.at_level(logging.WARNING):
        assert await world.after(0.0) == [("ollama_down", "firing")]
        await until(lambda: caplog.records)
        await world.after(10.0)
        await world.after(10.0)
    assert (world.flips, len(caplog.records)) == ([], 1)
    world.full = False
    await world.watching.stop()
    assert [flip.new for flip in world.flips] == ["firing"]


async def test_a_test_is_sent_now_by_those_that_are_named() -> None:
    world = World(config.with_shipped({}))
    assert await world.watching.test(["phone"], None) == {"phone": None}
    (message,) = world.inboxes["phone"].came
    assert (message.text, message.test, world.flips) == ("test", True, [])


async def test_a_rule_that_fails_leaves_the_others_alone(caplog: pytest.LogCaptureFixture) -> None:
    world = World(rules(bypass={}, ollama_down={"for": 0}), up=False, around=[("x", "no number")])
    assert await world.after(0.0) == [("ollama_down", "firing")]
    await world.after(10.0)
    assert [one for one in caplog.messages if "alert bypass failed: TypeError" in one] != []
    assert len(caplog.records) == 1


def test_each_kind_has_words_in_both_languages() -> None:
    for words in WORDS.values():
        for kind, (unit, _) in KINDS.items():
            good = f"alert.good.{kind}" if unit == "yes" else "alert.good"
            for key in (f"alert.kind.{kind}", f"alert.said.{kind}", good):
                assert words.catalogue[key]
