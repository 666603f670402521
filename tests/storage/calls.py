"""Made-up calls for the tests of statistics and storage. Their ids rise in the order of making."""

from __future__ import annotations

import itertools
from typing import Any

from ollama_proxy.exchange import Call
from ollama_proxy.ids import iso, new_id

NOON = 1_790_000_000.0
_seconds = itertools.count()


def make_call(*, at: float | None = None, **fields: Any) -> Call:
    """A completed chat with a model, at `at` (seconds since 1970) or one second after the last."""
    started = NOON + next(_seconds) if at is None else at
    known: dict[str, Any] = {
        "id": new_id(started),
        "method": "POST",
        "path": "/api/chat",
        "model": "llama3:8b",
        "state": "completed",
        "started_at": iso(started),
        "duration": 2.0,
    }
    return Call(**known | fields)
