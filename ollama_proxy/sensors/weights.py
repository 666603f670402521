"""Which models are made of the same file, and so share a runner: asked where it may be. Pure.

Ollama loads a file once, whatever names and parameters models give it, and `/api/ps` shows one name
only. Which file a model is made of is told by `/api/show` alone, in the FROM of its Modelfile. That
is asked once of each model that is as large as another of its kind, within what a template or
parameters may take; all others have a file of their own. Not here: the asking (`models.py`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from itertools import pairwise
from typing import Any

from ollama_proxy.records import ModelInfo

NEAR = 1 << 20
"""Bytes by which models of one file may differ in size."""
AT_ONCE = 4
"""Models that are asked for in one look: Ollama reads a file's head for each."""
MAX_KNOWN = 5000

_FROM = re.compile(r"^FROM .*sha256[-:]([0-9a-f]{64})\s*$", re.MULTILINE)


class Weights:
    """The files of models, by the models' digests."""

    def __init__(self) -> None:
        self._known: dict[str, str | None] = {}

    def wanted(self, models: Iterable[ModelInfo]) -> dict[str, str]:
        """Models to ask for now: a name by each digest."""
        sized = [
            ((one.family or "", one.parameter_size or "", one.quantization or ""), one.size, one)
            for one in models
            if one.size is not None and one.digest is not None
        ]
        sized.sort(key=lambda each: each[:2])
        found: dict[str, str] = {}
        for (kind, size, one), (other_kind, other_size, other) in pairwise(sized):
            if kind == other_kind and other_size - size <= NEAR and one.digest != other.digest:
                found |= {str(each.digest): each.name for each in (one, other)}
        room = MAX_KNOWN - len(self._known)
        new = [(digest, name) for digest, name in found.items() if digest not in self._known]
        return dict(new[: min(AT_ONCE, room)])

    def learn(self, digest: str, shown: Any) -> None:
        """What `/api/show` answered; None where it told nothing of use."""
        modelfile = shown.get("modelfile") if isinstance(shown, dict) else None
        found = _FROM.search(modelfile) if isinstance(modelfile, str) else None
        self._known[digest] = None if found is None else found[1]

    def of(self, digest: str | None) -> str | None:
        """The file's hash; None where it was not asked, or not told."""
        return None if digest is None else self._known.get(digest)
