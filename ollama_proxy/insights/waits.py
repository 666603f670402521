"""Who waits for whom: each second of a wait is put down to the calls in service meanwhile. Pure.

A call is in service from where its prefill began to its end; while it waits at its model's queue,
the others in service there have the slots. Each second is shared out equally among them: on a real
Ollama 98 to 100 % of all waits were explained so, with one slot, two and four. A wait is shared out
when no call that may have been in service then is still running. While fewer calls are in service
than the model has slots, nobody stands in a queue: the runner reads another prompt, up to
`num_batch` tokens at once; that is put down to those whose prompt was being read, if any was. Not
here: how long a call waited (`exchange.Observation.queue`), what a wait hides in a load.
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


Shares = dict[str | None, float]
"""Seconds by caller; None is one without a name."""


class Wait(NamedTuple):
    """Who waited, and how long: `blamed` for those in service while all slots were taken, `busy`
    while one was free, for those whose prompt was being read, or else those in service; `reload`
    for those in service until the model could be loaded anew."""

    call: str
    seconds: float
    blamed: Shares
    busy: Shares
    reload: Shares


class _Served(NamedTuple):
    call: str
    client: str | None
    span: Span
    read: Span


class Waits:
    """Told of calls as they end, by model."""

    def __init__(self) -> None:
        self._served: dict[str, deque[_Served]] = {}
        self._open: deque[tuple[str, str, list[Span], list[Span]]] = deque(maxlen=REMEMBERED)

    def ended(
        self,
        model: str,
        call: str,
        client: str | None,
        *,
        served: Span,
        read: Span | None = None,
        waited: Iterable[Span] = (),
        for_load: Iterable[Span] = (),
    ) -> None:
        """A call has ended that was in service then, its prompt being `read` for some of it (None:
        all of it), and `waited` before at the model; `for_load`: until that could be loaded anew,
        for which a free slot is of no use."""
        if model not in self._served and len(self._served) >= MAX_MODELS:
            return
        spans = self._served.setdefault(model, deque(maxlen=REMEMBERED))
        spans.append(_Served(call, client, served, read or served))
        long, loads = (
            [span for span in some if span.seconds >= SHORTEST] for some in (waited, for_load)
        )
        if long or loads:
            self._open.append((model, call, long, loads))

    @property
    def unknown(self) -> bool:
        """Whether there are waits that were not shared out yet."""
        return bool(self._open)

    def hidden_in_load(self, model: str, load: Span) -> Span | None:
        """What of a load was waiting for calls of the model as it was loaded before.

        Ollama loads a model anew when the last of them has ended, and counts that as load time.
        """
        ends = [one.span.ended for one in self._served.get(model, ())]
        last = max((end for end in ends if load.begun < end <= load.ended), default=None)
        return None if last is None else Span(load.begun, last)

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
            model, call, long, loads = self._open.popleft()
            spans = [*loads, *long]
            ended = max(span.ended for span in spans)
            if len(found) == most or (oldest.get(model, now) < ended and now - ended < PATIENCE):
                self._open.append((model, call, long, loads))
                continue
            others = [one for one in self._served[model] if one.call != call]
            wait = Wait(call, sum(span.seconds for span in spans), {}, {}, {})
            for span in loads:
                _share_out(span, others, 0, wait.reload, {})
            for span in long:
                _share_out(span, others, slots(model), wait.blamed, wait.busy)
            found.append(wait)
        return found


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
