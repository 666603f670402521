"""One run's measures: as a file, and as medians and ratios over its rounds.

Ratios are taken within a round, where both were measured minutes apart on the same machine, and
only then put together. Not here: what is measured, and how it is shown.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.arithmetic import median, ratio
from benchmarks.figures import Figure

FOLDER = Path(__file__).parent / "results"
FORMAT = 1


@dataclass
class Results:
    """`kind` is `rounds` or `growth`; a record says its round, its peer and what was done."""

    kind: str
    date: str
    machine: dict[str, Any]
    settings: dict[str, Any]
    peers: dict[str, dict[str, str]]
    missing: dict[str, str] = field(default_factory=dict)
    records: list[dict[str, Any]] = field(default_factory=list)

    # -- figures ------------------------------------------------------------------------------

    def values(self, figure: Figure, peer: str) -> dict[int, float]:
        """The figure by round."""
        direct = self._by_round(figure.workload, "direct")
        found = {
            number: figure.of(record, direct.get(number))
            for number, record in self._by_round(figure.workload, peer).items()
        }
        return {number: value for number, value in found.items() if value is not None}

    def median(self, figure: Figure, peer: str) -> float | None:
        return median(self.values(figure, peer).values())

    def ratios(self, figure: Figure, base: str, peer: str = "ours") -> list[float]:
        """Of each round that has both."""
        bases = self.values(figure, base)
        values = self.values(figure, peer).items()
        found = [ratio(value, bases.get(number)) for number, value in values]
        return [one for one in found if one is not None]

    def differences(self, figure: Figure, base: str, peer: str = "ours") -> list[float]:
        bases = self.values(figure, base)
        values = self.values(figure, peer).items()
        return [value - bases[number] for number, value in values if number in bases]

    def _by_round(self, workload: str, peer: str) -> dict[int, dict[str, Any]]:
        return {
            one["round"]: one
            for one in self.records
            if one.get("workload") == workload and one["peer"] == peer and "failed" not in one
        }

    # -- file ---------------------------------------------------------------------------------

    def save(self, path: Path) -> None:
        """One record a line, so that two files can be compared by eye."""
        head = {
            "format": FORMAT,
            "kind": self.kind,
            "date": self.date,
            "machine": self.machine,
            "settings": self.settings,
            "peers": self.peers,
            "missing": self.missing,
        }
        text = json.dumps(head, ensure_ascii=False, indent=1).removesuffix("\n}")
        rows = ",\n".join("  " + json.dumps(one, ensure_ascii=False) for one in self.records)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f'{text},\n "records": [\n{rows}\n ]\n}}\n', "utf-8")


def load(path: Path) -> Results:
    data = json.loads(path.read_text("utf-8"))
    if data.pop("format") != FORMAT:
        raise ValueError(f"{path.name} is of another format than {FORMAT}")
    return Results(**data)


def stored(kind: str, folder: Path = FOLDER) -> list[Results]:
    """All runs of this kind, the newest last (files are named by date)."""
    # By stem: with its suffix a day's second file would sort before its first.
    every = [load(path) for path in sorted(folder.glob("*.json"), key=lambda path: path.stem)]
    return [one for one in every if one.kind == kind]


def new_file(kind: str, date: str, folder: Path = FOLDER) -> Path:
    """Where a run of this day goes; a second one does not replace the first."""
    number, path = 1, folder / f"{date}-{kind}.json"
    while path.exists():
        number += 1
        path = folder / f"{date}-{kind}-{number}.json"
    return path
