"""What ours should reach, and whether a value does. Pure; a target's figure is in `figures.py`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Against = Literal["", "÷ nginx", "÷ caddy", "÷ direct", "- nginx"]


@dataclass(frozen=True)
class Target:
    """`must` is what has to hold, `moonshot` what would be as good as anything; None: no such."""

    figure: str
    against: Against
    must: float | None
    moonshot: float | None
    at_least: bool = False

    @property
    def base(self) -> str | None:
        """The peer to compare with in the same round, None for the value itself."""
        return self.against[2:] or None

    def met(self, found: float, level: Literal["must", "moonshot"]) -> bool:
        limit = self.must if level == "must" else self.moonshot
        if limit is None:
            raise ValueError(f"{self.figure} has no {level}")
        return found >= limit if self.at_least else found <= limit


EVERY: tuple[Target, ...] = (
    Target("w1-delay", "", 100, None),
    Target("w1-delay", "- nginx", None, 0),
    Target("w1-first", "", 600, None),
    Target("w1-first", "- nginx", None, 50),
    Target("w2-pace", "÷ direct", 0.99, 0.99, at_least=True),
    Target("w2-errors", "", 0, 0),
    Target("w2-cpu", "÷ nginx", 1.5, 1.0),
    Target("w2-cpu", "÷ caddy", 0.85, None),
    Target("w2-p99", "÷ nginx", 2.0, 1.0),
    Target("w2-frames", "", 1.001, 1.001),
    Target("w2-frames", "", 0.999, 0.999, at_least=True),
    Target("w2x-pace", "÷ direct", None, 0.99, at_least=True),
    Target("w2x-errors", "", None, 0),
    Target("w4-cpu", "÷ nginx", 2.5, 1.15),
    Target("w4f-cpu", "÷ nginx", 2.5, 1.15),
    Target("w4c-cpu", "÷ nginx", 4.0, 1.15),
    Target("w5-up", "÷ direct", 0.5, 0.9, at_least=True),
    Target("w5-down", "÷ direct", 0.5, 0.9, at_least=True),
    Target("w5-memory", "", 16, None),
    Target("w6-memory", "÷ nginx", 1.2, None),
    Target("w6-memory", "", None, 6),
    Target("w7-cpu", "", 0.5, 0.25),
)
