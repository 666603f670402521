"""What changed in Ollama between two looks: its version, the digest of a model. Pure, bounded.

A model or a version that is seen for the first time is no change. Not here: the looks
(`sensors/models.py`), where what is known is kept (`storage/marks.py`), who does so (`marking.py`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from ollama_proxy.ids import iso, new_id
from ollama_proxy.records import Mark, UpstreamHealth

VERSION, DIGEST = "version", "digest"
SERVER = "ollama"
MAX_KNOWN = 5000
"""Beyond so many names no model's digest is remembered that is not known yet."""

Fact = tuple[str, str]
"""(kind, subject)"""


class Marks:
    """What was last known. `changed`: when a model's digest last changed (ISO), by its name."""

    def __init__(self, known: Mapping[Fact, str], past: Iterable[Mark] = ()) -> None:
        """`past`: what changed before, the newest first."""
        self.changed: dict[str, str] = {}
        self._known = dict(known)
        for mark in reversed([*past]):
            self._note(mark)

    def looked(self, health: UpstreamHealth, now: float) -> list[Mark]:
        """What this look tells that was not known; of a first sight `old` is None."""
        return [mark for fact, value in _told(health) for mark in self._new(fact, value, now)]

    def _new(self, fact: Fact, value: str, now: float) -> Iterator[Mark]:
        old = self._known.get(fact)
        if old == value or (old is None and len(self._known) >= MAX_KNOWN):
            return
        self._known[fact] = value
        kind, subject = fact
        mark = Mark(id=new_id(now), at=iso(now), kind=kind, subject=subject, old=old, new=value)
        self._note(mark)
        yield mark

    def _note(self, mark: Mark) -> None:
        if mark.kind == DIGEST and mark.old is not None:
            self.changed[mark.subject] = mark.at


def _told(health: UpstreamHealth) -> Iterator[tuple[Fact, str]]:
    if not health.up:
        return
    if health.version is not None:
        yield (VERSION, SERVER), health.version
    for model in health.models:
        if model.digest is not None:
            yield (DIGEST, model.name), model.digest
