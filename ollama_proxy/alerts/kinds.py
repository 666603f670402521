"""What a rule can watch: each kind with the parameters that it takes, and their defaults. Data.

Not here: what a rule is (`config.py`), how a kind is judged (`rules.py`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

Unit = Literal["calls", "percent", "seconds", "yes"]

_CALLS: dict[str, Any] = {"model": None, "client": None, "each": None}
_WINDOW = _CALLS | {"within": 300.0}

KINDS: Mapping[str, tuple[Unit, Mapping[str, Any]]] = {
    "failed_calls": ("calls", _WINDOW | {"above": 10.0}),
    "failed_share": ("percent", _WINDOW | {"above": 20.0, "calls": 5}),
    "mean_duration": ("seconds", _WINDOW | {"above": 60.0, "calls": 1}),
    "p95_duration": ("seconds", _WINDOW | {"above": 120.0, "calls": 20}),
    "mean_first_token": ("seconds", _WINDOW | {"above": 10.0, "calls": 1}),
    "p95_first_token": ("seconds", _WINDOW | {"above": 30.0, "calls": 20}),
    "call_running": ("seconds", _CALLS | {"above": 600.0}),
    "call_silent": ("seconds", _CALLS | {"above": 120.0}),
    "call_queued": ("seconds", _CALLS | {"above": 60.0}),
    "queue": ("calls", _CALLS | {"above": 10.0}),
    "ollama_down": ("yes", {"for": 30.0}),
    "model_unavailable": ("yes", {"model": None, "for": 30.0}),
    "model_on_cpu": ("percent", {"model": None, "above": 0.0}),
    "prompt_cut": ("calls", _WINDOW | {"within": 600.0, "above": 0.0}),
    "disk_full": ("percent", {"above": 90.0}),
    "bypass": ("yes", {"within": 600.0}),
    "records_dropped": ("calls", {"within": 600.0, "above": 0.0}),
}
"""By name: the unit of what is measured, and the parameters. What has `above` may have `clear`,
too; a kind of the unit `yes` is so or not, and has neither."""

COMMON = ("when", "on", "for", "every", "cooldown", "notify")
"""What every rule takes."""


def takes(kind: str) -> tuple[str, ...]:
    """All parameters of a kind."""
    own = tuple(KINDS[kind][1])
    return (*COMMON, *own, *(("clear",) if "above" in own else ()))
