"""What a rule says of facts: how bad it is, by subject. Pure.

Not here: when a state follows from that (`flips.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping

import msgspec

from ollama_proxy.alerts.config import Rule
from ollama_proxy.alerts.facts import Ended, Facts, Running
from ollama_proxy.exchange import model_key
from ollama_proxy.filters import alike, model_alike
from ollama_proxy.stats import Histogram

MAX_SUBJECTS = 100


class Reading(msgspec.Struct, frozen=True):
    """`value` in the kind's unit, 1 or 0 for yes and no; `detail`: a cause, or whose it is."""

    value: float
    detail: str | None = None


Readings = dict[str, Reading]
"""By subject: a model, a client, a program, or "" for all."""


def judge(rule: Rule, facts: Facts) -> Readings | None:
    """None: it cannot be told now, and nothing changes. At most the `MAX_SUBJECTS` worst."""
    found = _JUDGES[rule.when](rule, facts)
    if found is None or len(found) <= MAX_SUBJECTS:
        return found
    worst = sorted(found, key=lambda subject: -found[subject].value)[:MAX_SUBJECTS]
    return {subject: found[subject] for subject in worst}


def _subject(rule: Rule, model: str | None, client: str | None) -> str | None:
    """None: the rule is not about this one's calls."""
    if rule.model is not None and not (model and model_alike(model, rule.model)):
        return None
    if rule.client is not None and not (client and alike(client, rule.client)):
        return None
    if rule.each is None:
        return ""
    return (model if rule.each == "model" else client) or ""


# -- calls that ended ---------------------------------------------------------------------------


def _windowed(
    measure: Callable[[Rule, list[Ended]], float],
    whose: Callable[[list[Ended]], str | None] = lambda group: None,
) -> Callable[[Rule, Facts], Readings]:
    def judged(rule: Rule, facts: Facts) -> Readings:
        groups: dict[str, list[Ended]] = {} if rule.each else {"": []}
        for (model, client), ended in facts.window.over(rule.within or 0.0, facts.moment):
            subject = _subject(rule, model, client)
            if subject is not None:
                groups.setdefault(subject, []).append(ended)
        return {
            subject: Reading(measure(rule, group), whose(group))
            for subject, group in groups.items()
        }

    return judged


def _failed(rule: Rule, group: list[Ended]) -> float:
    return float(sum(one.summary.failed + one.summary.timeout for one in group))


def _failed_share(rule: Rule, group: list[Ended]) -> float:
    failed = _failed(rule, group)
    judged = failed + sum(one.summary.completed for one in group)
    return failed / judged * 100 if judged and judged >= (rule.calls or 0) else 0.0


def _cut(rule: Rule, group: list[Ended]) -> float:
    return float(sum(one.cut for one in group))


def _cut_whose(group: list[Ended]) -> str | None:
    """Client and model of the latest; " +2" behind it: two other clients had their prompts cut."""
    cut = [one for one in group if one.cut]
    if not cut:
        return None
    model, client = max(cut, key=lambda one: one.cut_at).cut_of
    others = len({one.cut_of[1] for one in cut} - {client})
    return (" · ".join(filter(None, (client, model))) or "?") + (f" +{others}" if others else "")


def _mean(name: str) -> Callable[[Rule, list[Ended]], float]:
    def measure(rule: Rule, group: list[Ended]) -> float:
        known = _histograms(name, group)
        count = sum(one.count for one in known)
        return sum(one.sum for one in known) / count if count >= max(1, rule.calls or 0) else 0.0

    return measure


def _p95(name: str) -> Callable[[Rule, list[Ended]], float]:
    def measure(rule: Rule, group: list[Ended]) -> float:
        together = Histogram()
        for one in _histograms(name, group):
            together.merge(one)
        enough = together.count >= max(1, rule.calls or 0)
        return (together.percentiles(0.95)[0] or 0.0) if enough else 0.0

    return measure


def _histograms(name: str, group: Iterable[Ended]) -> list[Histogram]:
    return [getattr(one.summary, name) for one in group]


# -- calls that run -----------------------------------------------------------------------------


def _longest(seconds: Callable[[Running], float | None]) -> Callable[[Rule, Facts], Readings]:
    def judged(rule: Rule, facts: Facts) -> Readings:
        found: Readings = {}
        for subject, one in _running(rule, facts):
            value = seconds(one)
            if value is not None and (subject not in found or value > found[subject].value):
                found[subject] = Reading(value, _whose(one))
        return found

    return judged


def _waiting(rule: Rule, facts: Facts) -> Readings:
    counts: dict[str, int] = {}
    for subject, one in _running(rule, facts):
        counts[subject] = counts.get(subject, 0) + (one.waiting is not None)
    return {subject: Reading(float(count)) for subject, count in counts.items()}


def _running(rule: Rule, facts: Facts) -> Iterator[tuple[str, Running]]:
    for one in facts.running:
        subject = _subject(rule, one.model, one.client)
        if subject is not None:
            yield subject, one


def _whose(one: Running) -> str | None:
    return " · ".join(name for name in (one.client, one.model) if name) or None


# -- Ollama, its models, the machine -------------------------------------------------------------


def _down(rule: Rule, facts: Facts) -> Readings | None:
    if facts.up is None:
        return None
    return {"": Reading(0.0 if facts.up else 1.0, None if facts.up else facts.error)}


def _unavailable(rule: Rule, facts: Facts) -> Readings | None:
    if facts.models is None or rule.model is None:
        return None
    has = any(model_key(model.name) == model_key(rule.model) for model in facts.models)
    return {rule.model: Reading(0.0 if has else 1.0)}


def _on_cpu(rule: Rule, facts: Facts) -> Readings | None:
    if facts.models is None:
        return None
    found: Readings = {}
    for model in facts.models:
        whole, gpu = model.size_loaded, model.size_vram
        asked = rule.model is None or model_alike(model.name, rule.model)
        if asked and model.loaded and whole and gpu is not None:
            found[model.name] = Reading(max(0.0, (whole - gpu) / whole * 100))
    return found


def _disk(rule: Rule, facts: Facts) -> Readings | None:
    return None if facts.disk_percent is None else {"": Reading(facts.disk_percent)}


def _around(rule: Rule, facts: Facts) -> Readings:
    within = rule.within or 0.0
    return {name: Reading(1.0) for name, ago in facts.around if ago <= within}


def _dropped(rule: Rule, facts: Facts) -> Readings:
    return {"": Reading(float(facts.window.dropped_over(rule.within or 0.0, facts.moment)))}


_JUDGES: Mapping[str, Callable[[Rule, Facts], Readings | None]] = {
    "failed_calls": _windowed(_failed),
    "failed_share": _windowed(_failed_share),
    "mean_duration": _windowed(_mean("duration")),
    "p95_duration": _windowed(_p95("duration")),
    "mean_first_token": _windowed(_mean("time_to_first_token")),
    "p95_first_token": _windowed(_p95("time_to_first_token")),
    "call_running": _longest(lambda one: one.seconds),
    "call_silent": _longest(lambda one: one.silent),
    "call_queued": _longest(lambda one: one.waiting),
    "queue": _waiting,
    "ollama_down": _down,
    "model_unavailable": _unavailable,
    "model_on_cpu": _on_cpu,
    "prompt_cut": _windowed(_cut, _cut_whose),
    "disk_full": _disk,
    "bypass": _around,
    "records_dropped": _dropped,
}
