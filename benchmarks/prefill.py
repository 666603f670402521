"""Fills a database with calls as they would be after weeks, through the program's own store.

Not here: what is measured with it (`growth.py`).
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from pathlib import Path

from ollama_proxy.exchange import Call, State
from ollama_proxy.ids import iso, new_id
from ollama_proxy.storage.folder import DATABASE
from ollama_proxy.storage.sqlite import SqliteStore

Lock = Callable[[], contextlib.AbstractContextManager[None]]

BATCH = 1000
BATCHES_AT_ONCE = 300
"""Under one lock: some 20 s."""
DAYS = 20
MOST = 1_000_000
PROMPT = "Explain in two sentences how a reverse proxy passes a stream on. "
ANSWER = "It reads each piece from one connection and writes it to the other at once. "


def fill(folder: Path, there: int, wanted: int, lock: Lock) -> int:
    """Add calls until `wanted` were added by this function; returns how many that are."""
    begin = time.time() - DAYS * 86_400
    while there < wanted:
        with lock():
            store = SqliteStore(folder / DATABASE)
            store.open()
            try:
                for _ in range(BATCHES_AT_ONCE):
                    number = min(BATCH, wanted - there)
                    store.write([made_up(begin, there + one) for one in range(number)])
                    there += number
                    if there >= wanted:
                        break
            finally:
                store.close()
    return there


def made_up(begin: float, number: int) -> Call:
    """One of `MOST` calls, spread evenly over the days."""
    at = begin + number * (DAYS - 1) * 86_400 / MOST
    seconds = 0.5 + number % 97 / 50
    return Call(
        id=new_id(at),
        method="POST",
        path="/api/chat",
        model=f"model-{number % 5}",
        state=State.COMPLETED.value,
        status_code=200,
        started_at=iso(at),
        duration=seconds,
        time_to_first_token=0.1,
        queue=0.0,
        load=0.01,
        prefill=0.05,
        decode=seconds - 0.1,
        input_tokens=30,
        output_tokens=60,
        tokens_per_second=60 / (seconds - 0.1),
        streamed=True,
        done_reason="stop",
        prompt=f"{number} {PROMPT * 3}"[:200],
        response=(ANSWER * 3)[:200],
        client=f"script-{number % 7}",
        request_bytes=400,
        response_bytes=9000,
        output_chunks=60,
    )
