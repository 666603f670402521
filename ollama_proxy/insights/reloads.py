"""Why a call had to wait for its model to be loaded: told by what came before it. Pure, bounded.

Ollama loads a model anew where a call's options differ from those it is loaded with, if they are
of those that matter (server/sched.go of 0.33, `needsReload`; each was tried on a real server):
`num_ctx` as it takes effect, `num_batch`, `num_thread`, `main_gpu`, `use_mmap`,
`draft_num_predict`, `shift`, and `num_gpu` where the new call names one. What is sticky stays as
the last call set it. All else (sampling, `num_keep`, formats, the route) reloads nothing. Not here:
what of a load was waiting for calls of the old one.
"""

from __future__ import annotations

import re
from collections import deque
from statistics import median
from typing import Any, NamedTuple

import msgspec

SHORTEST = 0.1
"""Seconds. A model that is loaded takes 1 to 6 ms, under load 38; a reload at least 500."""
TIMES_WARM = 10
REMEMBERED = 32
MAX_MODELS = 500

_TIME = re.compile(r"(\d+(?:\.\d+)?)(ms|[hms])")
_LONGEST = 10**9
_UNITS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}
_COMPARED = ("num_batch", "num_thread", "main_gpu", "use_mmap", "draft_num_predict", "shift")
_ABORTS = {"left": "load_aborted", "stopped": "load_stopped"}
_DEFAULTS: dict[str, Any] = {"num_batch": 512}


class Ended(msgspec.Struct, frozen=True, kw_only=True):
    """A call that ended. `context` is the context length it ran with, `load` Ollama's load seconds;
    None is not known. `arrived` and `ended` are seconds of one clock.

    `failure`: what may have taken the runner away: `runner_died`, or `left` of a client that left,
    or `stopped` of a call that an operator stopped.
    `keep_alive`: seconds that the call asked for, negative for ever, None where it did not ask.
    `served`: it got an answer, though its load may not be known. `loaded`: when its model was in
    memory. `gone`: when a look last found that it had gone from there. `outside`: the context with
    which something that goes past the proxy had loaded it.
    """

    model: str
    client: str | None
    options: dict[str, Any] | None
    context: int | None
    load: float | None
    arrived: float
    ended: float
    unloads: bool = False
    failure: str | None = None
    keep_alive: float | None = None
    served: bool = False
    loaded: float | None = None
    gone: float | None = None
    outside: int | None = None


Asked = tuple[dict[str, Any] | None, int | None]
"""A call's options, and its context where that is known."""


class Reload(msgspec.Struct, frozen=True):
    """`cause`: bypass, options, unloaded, runner_died, load_aborted, load_stopped,
    ollama_restarted, expired, evicted, or unknown.

    `changed`: the options that differ, each with its old value and its new one; None is Ollama's
    default. `by`: the client, or for `evicted` the model, that caused it, if it is known.
    """

    cause: str
    seconds: float
    changed: dict[str, tuple[Any, Any]] = {}
    by: str | None = None


class _With(NamedTuple):
    """The options that a model is loaded with, or that a call asks for."""

    options: dict[str, Any]
    context: int | None


class _Last(msgspec.Struct):
    """What is known of a model's last load and call."""

    options: dict[str, Any]
    context: int | None
    client: str | None
    ended: float
    gone: tuple[str, str | None] | None = None
    keep_alive: float | None = None
    expires: float | None = None
    loaded: float | None = None


class Reloads:
    """Told of calls as they end, and of when a look said that a model will be unloaded."""

    def __init__(self) -> None:
        self._last: dict[str, _Last] = {}
        self._warm: dict[str, deque[float]] = {}
        self._loaded: deque[tuple[float, str]] = deque(maxlen=REMEMBERED)  # when, and which

    def looked(self, expires: dict[str, float]) -> None:
        """When each loaded model is unloaded if no call comes, by the clock of the calls."""
        for model, moment in expires.items():
            last = self._last.get(model)
            if last is not None:
                last.expires = moment

    def unloaded(self, model: str) -> bool:
        """Whether its last call put it out of memory."""
        last = self._last.get(model)
        return last is not None and last.gone is not None and last.gone[0] == "unloaded"

    def ended(self, call: Ended) -> Reload | None:
        """Why this call loaded its model; None if it did not, or nothing is known of before."""
        last = self._last.get(call.model)
        if call.load is None:
            if call.served:  # by /v1, which names no options: the model is loaded without any now
                self._remember(call, last, loaded=False)
            else:
                self._note_failure(call, last)
            return None
        if last is None and len(self._last) >= MAX_MODELS:
            return None
        limit = self.shortest(call.model)
        warm = self._warm.setdefault(call.model, deque(maxlen=REMEMBERED))
        found = None
        if call.load >= limit:
            found = None if last is None else self._explained(call, last)
            self._loaded.append((call.ended, call.model))
        else:
            warm.append(call.load)
        self._remember(call, last, loaded=call.load >= limit)
        return found

    def restarted(self) -> None:
        """Ollama was down: whatever it had in memory has gone."""
        for last in self._last.values():
            last.gone = "ollama_restarted", None

    def would_load(self, model: str, asked: Asked, served: Asked | None) -> bool:
        """Whether a call that asks for this has the model loaded anew, which is loaded as the last
        call had it, or as that which it `served` now; False if that is not known."""
        last = self._last.get(model)
        if last is None or (last.gone is not None and served is None):
            return False
        loaded: _Last | _With = last
        if served is not None:
            sticky = {"num_gpu": last.options.get("num_gpu")}
            loaded = _With({**sticky, **(served[0] or {})}, served[1])
        return bool(_changed(_With(asked[0] or {}, asked[1]), loaded))

    def shortest(self, model: str) -> float:
        """Seconds: a load that takes less found the model loaded."""
        warm = self._warm.get(model)
        return max(SHORTEST, TIMES_WARM * median(warm)) if warm else SHORTEST

    def _note_failure(self, call: Ended, last: _Last | None) -> None:
        if last is not None and (call.failure or call.unloads):
            cause = _ABORTS.get(call.failure or "", call.failure) or "unloaded"
            last.gone = cause, call.client

    def _remember(self, call: Ended, last: _Last | None, *, loaded: bool) -> None:
        if last is None and len(self._last) >= MAX_MODELS:
            return
        options = dict(call.options or {})
        if last is not None and not loaded:
            # What a model is loaded with stays, whatever else the call leaves out.
            options["num_gpu"] = last.options.get("num_gpu")
        gone = ("unloaded", call.client) if call.unloads else None
        # This is sticky, too, until the next load.
        alive = last.keep_alive if last is not None and not loaded else None
        alive = alive if call.keep_alive is None else call.keep_alive
        expires = None if alive is None or alive < 0 else call.ended + alive
        known = None if last is None else last.loaded
        self._last[call.model] = _Last(
            options,
            call.context,
            call.client,
            call.ended,
            gone,
            alive,
            expires,
            call.loaded if loaded else known,
        )

    def _explained(self, call: Ended, last: _Last) -> Reload | None:
        seconds = call.load or 0.0
        if call.outside is not None:  # whatever calls here asked for, that was not theirs
            asked = (call.options or {}).get("num_ctx", call.context)
            return Reload("bypass", seconds, {"num_ctx": (call.outside, asked)})
        changed = _changed(_With(call.options or {}, call.context), last)
        # Who left before its answer may have left at any time, while the model was loaded or not.
        if changed and (last.gone is None or last.gone[0] in _ABORTS.values()):
            return Reload("options", seconds, changed, by=last.client)
        if last.loaded is not None and call.arrived < last.loaded:
            return None  # it came while the model was loaded for another call, and waited along
        if last.gone is not None:
            cause, by = last.gone
            return Reload(cause, seconds, by=by)
        others = [
            model
            for moment, model in self._loaded
            if model != call.model and last.ended < moment <= call.ended
        ]
        if last.expires is not None and last.expires <= call.arrived:
            return Reload("expired", seconds)
        if others and call.gone is not None and call.gone > last.ended:
            return Reload("evicted", seconds, by=others[-1])
        return Reload("unknown", seconds)


def keep_alive_seconds(asked: object) -> float | None:
    """What a request's `keep_alive` asks for: a number of seconds, or Go's way to write a time."""
    if isinstance(asked, bool):
        return None
    if isinstance(asked, int | float):
        return float(max(-_LONGEST, min(asked, _LONGEST)))
    if asked == "0":
        return 0.0
    found = _TIME.findall(asked) if isinstance(asked, str) else []
    if not found or "".join(map("".join, found)) != str(asked).lstrip("-"):
        return None
    seconds = sum(float(count) * _UNITS[unit] for count, unit in found)
    return -seconds if str(asked).startswith("-") else seconds


def _changed(call: _With, last: _Last | _With) -> dict[str, tuple[Any, Any]]:
    old, new = last.options, call.options
    pairs = {
        name: (old.get(name, _DEFAULTS.get(name)), new.get(name, _DEFAULTS.get(name)))
        for name in _COMPARED
    }
    pairs["num_ctx"] = _contexts(call, last)
    wanted = new.get("num_gpu")
    if type(wanted) is int and wanted >= 0:
        pairs["num_gpu"] = (old.get("num_gpu"), wanted)
    # `shift` is on unless it is turned off; a truth value is never a number.
    pairs["shift"] = (pairs["shift"][0] is not False, pairs["shift"][1] is not False)
    return {name: pair for name, pair in pairs.items() if _differ(*pair)}


def _contexts(call: _With, last: _Last | _With) -> tuple[Any, Any]:
    """Compared as they take effect; where those differ, told as they were asked for, if any was."""
    asked = last.options.get("num_ctx"), call.options.get("num_ctx")
    held = last.context, call.context
    if None in held:
        return asked
    if held[0] == held[1]:
        return None, None
    return asked if _differ(*asked) else held


def _differ(one: Any, other: Any) -> bool:
    return type(one) is not type(other) or one != other
