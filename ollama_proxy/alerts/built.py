"""Makes what watches and what tells, from the settings. Not here: what it asks (`app.py`)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection
from typing import Protocol

from ollama_proxy.alerts.config import kind_of, or_log, with_shipped
from ollama_proxy.alerts.delivering import Delivery
from ollama_proxy.alerts.facts import Facts, Window
from ollama_proxy.alerts.notifiers import notifier
from ollama_proxy.alerts.watching import Kept, Standing, Watching
from ollama_proxy.config import Alerts
from ollama_proxy.records import Flip


class Keeping(Kept, Protocol):
    """A store that also knows what it kept before."""

    def standing(self) -> tuple[list[Flip], dict[str, float]]: ...


def window(alerts: Alerts) -> Window:
    """As long as the longest that a rule looks at; 0 where none does."""
    return Window(_longest(alerts))


def _longest(alerts: Alerts) -> float:
    longest = [rule.within for rule in alerts.rules.values() if rule.on and rule.within]
    return max(longest, default=0.0)


def use(watched: Watching, window: Window, alerts: Alerts, before: Alerts) -> None:
    """Other settings than those of before. A notifier with the same ones goes on."""
    window.last(_longest(alerts))
    was = or_log(before.notifiers)
    known = {name: watched.deliveries[name] for name in watched.deliveries if name in was}
    deliveries = {
        name: known[name] if was.get(name) == one else Delivery(name, kind_of(one), notifier(one))
        for name, one in or_log(alerts.notifiers).items()
    }
    watched.use(with_shipped(alerts.rules), alerts.every, deliveries)


def watching(
    alerts: Alerts,
    gather: Callable[[Collection[str]], Awaitable[Facts]],
    store: Keeping,
    say: Callable[[Flip, bool], tuple[str, str]],
) -> Watching:
    """Not started yet. Raises StoreError."""
    told = or_log(alerts.notifiers)
    return Watching(
        rules=with_shipped(alerts.rules),
        every=alerts.every,
        deliveries=[Delivery(name, kind_of(one), notifier(one)) for name, one in told.items()],
        gather=gather,
        kept=store,
        say=say,
        standing=Standing(*store.standing()),
    )
