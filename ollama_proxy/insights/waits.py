"""Who waits for whom: each second of a wait is put down to the calls in service meanwhile. Pure.

A call is in service from where its prefill began to its end; while it waits at its model's queue,
the others in service there have the slots. Each second is shared out equally among them: on a real
Ollama 98 to 100 % of all waits were explained so, with one slot, two and four. A wait is shared out
when no call that may have been in service then is still running. While fewer calls are in service
than the model has slots, nobody stands in a queue: the runner reads another prompt, up to
`num_batch` tokens at once; that is put down to those whose prompt was being read, if any was. Not
here: how long a call waited (`exchange.Observation.queue`), which models gave way (`rooms.py`).
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

SHORTEST = 0.03
"""Seconds: calls that found the model free were 4 to 17 ms late (p95), for other reasons."""
REMEMBERED = 256
"""Calls in service that are remembered of each model, and waits that are not shared out yet."""
AT_ONCE = 4
"""Waits that are shared out in one go: each takes up to 0.2 ms."""
PATIENCE = 600.0
"""Seconds after which a wait is shared out, whatever still runs."""
MAX_MODELS = 500


class Span(NamedTuple):
    """Seconds of one clock."""

    begun: float
    ended: float

    @property
    def seconds(self) -> float:
        return self.ended - self.begun


class Hidden(NamedTuple):
    """What of a load was a wait, for calls of which models.

    `reason`: `reload`, the model was to be loaded anew; `room`, others had to make room for it;
    `load`, it waited for another load.
    """

    span: Span
    models: frozenset[str]
    reason: str


Shares = dict[str | None, float]
"""Seconds by caller; None is one without a name."""


class Wait(NamedTuple):
    """Who waited, and how long: `blamed` for those in service while all slots were taken, `busy`
    while one was free, for those whose prompt was being read, or else those in service; `loading`
    for those in service until the model could be loaded, for the `reason` of `Hidden`."""

    call: str
    seconds: float
    blamed: Shares
    busy: Shares
    loading: Shares
    reason: str | None = None


class _Served(NamedTuple):
    call: str
    client: str | None
    span: Span
    read: Span


class _Open(NamedTuple):
    """A wait that is not shared out yet."""

    model: str
    call: str
    waited: Span | None
    hidden: Hidden | None

    @property
    def spans(self) -> list[Span]:
        both = self.hidden and self.hidden.span, self.waited
        return [span for span in both if span is not None]

    @property
    def models(self) -> frozenset[str]:
        """Those whose calls it may have been for."""
        others = frozenset() if self.hidden is None else self.hidden.models
        return others | {self.model}


class Waits:
    """Told of calls as they end, by model."""

    def __init__(self) -> None:
        self._served: dict[str, deque[_Served]] = {}
        self._open: deque[_Open] = deque(maxlen=REMEMBERED)

    def ended(
        self,
        model: str,
        call: str,
        client: str | None,
        *,
        served: Span,
        read: Span | None = None,
        waited: Span | None = None,
        hidden: Hidden | None = None,
    ) -> None:
        """A call has ended that was in service then, its prompt being `read` for some of it (None:
        all of it), and `waited` before at the model; `hidden`: until that could be loaded, for
        which a free slot is of no use."""
        if model not in self._served and len(self._served) >= MAX_MODELS:
            return
        spans = self._served.setdefault(model, deque(maxlen=REMEMBERED))
        spans.append(_Served(call, client, served, read or served))
        if waited is not None and waited.seconds < SHORTEST:
            waited = None
        if hidden is not None and hidden.span.seconds < SHORTEST:
            hidden = None
        if waited is not None or hidden is not None:
            self._open.append(_Open(model, call, waited, hidden))

    @property
    def unknown(self) -> bool:
        """Whether there are waits that were not shared out yet."""
        return bool(self._open)

    def ends(self, within: Span) -> dict[str, float]:
        """When each model that ended a call in that time ended its last one there."""
        ends = {
            model: max(
                (one.span.ended for one in served if within.begun < one.span.ended <= within.ended),
                default=None,
            )
            for model, served in self._served.items()
        }
        return {model: end for model, end in ends.items() if end is not None}

    def previous_end(self, model: str, before: float, begun: float | None = None) -> float | None:
        """When the model last ended a call before that moment: from then on another was served.
        `begun`: of calls that were in service by then."""
        ends = [
            one.span.ended
            for one in self._served.get(model, ())
            if one.span.ended <= before and (begun is None or one.span.begun <= begun)
        ]
        return max(ends, default=None)

    def shared_out(
        self,
        oldest: Mapping[str, float],
        now: float,
        most: int = AT_ONCE,
        slots: Callable[[str], int] = lambda model: 1,
    ) -> list[Wait]:
        """Some of the waits that are known by now. `oldest`: when each model's oldest running call
        came; `slots`: how many calls a model serves at once."""
        found: list[Wait] = []
        for _ in range(len(self._open)):
            one = self._open.popleft()
            ended = max(span.ended for span in one.spans)
            came = min(oldest.get(model, now) for model in one.models)
            if len(found) == most or (came < ended and now - ended < PATIENCE):
                self._open.append(one)
                continue
            seconds = sum(span.seconds for span in one.spans)
            wait = Wait(one.call, seconds, {}, {}, {}, one.hidden and one.hidden.reason)
            if one.hidden is not None:
                served = self._others(one.call, one.hidden.models)
                _share_out(one.hidden.span, served, 0, wait.loading, {})
            if one.waited is not None:
                served = self._others(one.call, (one.model,))
                _share_out(one.waited, served, slots(one.model), wait.blamed, wait.busy)
            found.append(wait)
        return found

    def _others(self, call: str, models: Iterable[str]) -> list[_Served]:
        return [one for model in models for one in self._served.get(model, ()) if one.call != call]


def _share_out(
    wait: Span, served: Iterable[_Served], slots: int, blamed: Shares, idle: Shares
) -> None:
    """The seconds of a wait by who was in service in each; where nobody was, nobody's. `idle`:
    those in which a slot was free."""
    beside = [
        (_within(wait, one.span), _within(wait, one.read), one.client)
        for one in served
        if one.span.begun < wait.ended and one.span.ended > wait.begun
    ]
    steps: dict[float, list[int]] = defaultdict(lambda: [0, 0])
    for span, read, _ in beside:
        for which, one in enumerate((span, read)):
            steps[one.begun][which] += 1
            steps[one.ended][which] -= 1
    # How much each has been given by each moment: those in service while all slots were taken; else
    # those whose prompt was being read; and where there was none, again those in service.
    given: dict[float, tuple[float, float, float]] = {}
    queued = read_for = beside_for = 0.0
    there, reading, last = 0, 0, wait.begun
    for moment in sorted(steps):
        seconds = moment - last
        if there and there >= slots:
            queued += seconds / there
        elif reading:
            read_for += seconds / reading
        elif there:
            beside_for += seconds / there
        there, reading, last = there + steps[moment][0], reading + steps[moment][1], moment
        given[moment] = queued, read_for, beside_for
    for span, read, client in beside:
        since, until = given[span.begun], given[span.ended]
        busy = until[2] - since[2] + given[read.ended][1] - given[read.begun][1]
        for shares, seconds in ((blamed, until[0] - since[0]), (idle, busy)):
            if seconds > 0:
                shares[client] = shares.get(client, 0.0) + seconds


def _within(wait: Span, span: Span) -> Span:
    """What of it lies in the wait; if nothing does, of no length."""
    begun = min(max(span.begun, wait.begun), wait.ended)
    return Span(begun, max(begun, min(span.ended, wait.ended)))
