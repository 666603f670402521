"""What rules are judged by: how things are at one moment, and what ended in the windows before it.

Pure, bounded. Not here: where it comes from (`gathering.py`), what follows (`rules.py`).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence

import msgspec

from ollama_proxy.exchange import Call
from ollama_proxy.records import ModelInfo
from ollama_proxy.stats import MAX_NAME, OTHER, Summary

SLOTS = 100
"""So many in the longest window: how finely it moves."""
MAX_KEYS = 50
"""Models and clients, in pairs, that are told apart in one slot; the rest are `stats.OTHER`."""

Who = tuple[str | None, str | None]
"""A call's model and client."""


class Ended(msgspec.Struct):
    """Calls that ended: how they went, of how many the prompt was cut, when last, and whose."""

    summary: Summary = msgspec.field(default_factory=Summary)
    cut: int = 0
    cut_at: float = 0.0
    cut_of: Who = (None, None)


class _Slot(msgspec.Struct):
    since: float
    ended: dict[Who, Ended] = {}
    dropped: int = 0


class Window:
    """What ended lately. Moments are seconds of one monotonic clock."""

    def __init__(self, longest: float) -> None:
        self.last(longest)
        self._slots: deque[_Slot] = deque(maxlen=SLOTS + 2)
        self._dropped: int | None = None

    def last(self, longest: float) -> None:
        """For so many seconds from now on. Of a time that was not kept so far nothing is known."""
        self.seconds = longest
        self._step = max(0.1, longest / SLOTS)

    def add(self, call: Call, moment: float) -> None:
        """A call has ended."""
        ended = self._slot(moment).ended
        who = (call.model, call.client)
        if who not in ended and (len(ended) >= MAX_KEYS or len(call.model or "") > MAX_NAME):
            who = (OTHER, OTHER)
        one = ended.setdefault(who, Ended())
        one.summary.add(call)
        cut = (call.insights or {}).get("prompt_cut") or {}
        if cut.get("cut") is True:
            one.cut, one.cut_at, one.cut_of = one.cut + 1, moment, who

    def dropped(self, total: int, moment: float) -> None:
        """So many records were dropped since the start; of the first word only what follows
        counts."""
        if self._dropped is not None and total > self._dropped:
            self._slot(moment).dropped += total - self._dropped
        self._dropped = total

    def over(self, seconds: float, moment: float) -> Iterator[tuple[Who, Ended]]:
        """What ended in the last seconds, up to a slot more; the same pair may come again."""
        for slot in self._since(moment - seconds):
            yield from slot.ended.items()

    def dropped_over(self, seconds: float, moment: float) -> int:
        return sum(slot.dropped for slot in self._since(moment - seconds))

    def _since(self, moment: float) -> Iterator[_Slot]:
        return (slot for slot in self._slots if slot.since + self._step > moment)

    def _slot(self, moment: float) -> _Slot:
        if not self._slots or moment >= self._slots[-1].since + self._step:
            self._slots.append(_Slot(moment))
        return self._slots[-1]


class Running(msgspec.Struct, frozen=True):
    """A running call: seconds since it began, since its last piece, and that it waits (None: it
    does not, as far as is known)."""

    model: str | None
    client: str | None
    seconds: float
    silent: float
    waiting: float | None = None


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """How things are at `moment`. None is not known.

    `models`: those that Ollama has. `around`: who was seen to talk to Ollama directly, each with
    the seconds since; "" where only the traces of somebody were seen. `disk_percent`: used.
    """

    moment: float
    window: Window
    running: Sequence[Running] = ()
    up: bool | None = None
    error: str | None = None
    models: Sequence[ModelInfo] | None = None
    disk_percent: float | None = None
    around: Sequence[tuple[str, float]] = ()
