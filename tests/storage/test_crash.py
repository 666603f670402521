"""SIGKILL at random moments: nothing that was acknowledged as stored is lost (L6)."""

from __future__ import annotations

import random
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

from ollama_proxy.records import Filter
from ollama_proxy.series import Tally
from ollama_proxy.storage.sqlite import SqliteStore

# Writes for ever: each line is the ids of a batch, told only after `write` has returned.
WRITING = """
import sys, time
from pathlib import Path
from msgspec.structs import replace
from ollama_proxy.exchange import Call
from ollama_proxy.ids import iso, new_id
from ollama_proxy.storage.sqlite import SqliteStore

def call():
    now = time.time()
    return Call(id=new_id(now), method="POST", path="/api/chat", model="m", state="completed",
                started_at=iso(now), duration=1.0, prompt="x" * 3000)

store = SqliteStore(Path(sys.argv[1]))
store.open()
while True:
    batch = [call() for _ in range(5)]
    store.write([replace(made, state="running") for made in batch])
    store.write(batch)
    print(*(made.id for made in batch), flush=True)
"""


def killed_while_writing(path: Path, batches: int) -> set[str]:
    """Let a process write, kill it after so many batches. Returns the ids it acknowledged."""
    command = [sys.executable, "-c", WRITING, str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        lines = [process.stdout.readline() for _ in range(batches)]
        process.send_signal(signal.SIGKILL)
        lines += process.stdout.readlines()
    # The last line may be broken off by the kill; then it was not acknowledged.
    return {id for line in lines if line.endswith("\n") for id in line.split()}


def integrity(path: Path) -> str:
    connection = sqlite3.connect(path)
    (answer,) = connection.execute("PRAGMA integrity_check").fetchone()
    connection.close()
    return str(answer)


def count(path: Path, condition: str) -> int:
    connection = sqlite3.connect(path)
    (found,) = connection.execute(f"SELECT count(*) FROM calls WHERE {condition}").fetchone()
    connection.close()
    return int(found)


def in_series(path: Path) -> dict[str, int]:
    """Calls by model, and over all."""
    connection = sqlite3.connect(path)
    found: dict[str, int] = {}
    for model, data in connection.execute("SELECT model, tally FROM series"):
        found[model] = found.get(model, 0) + sum(Tally.from_bytes(data).counts)
    connection.close()
    return found


def test_ten_kills_lose_nothing_that_was_stored(path: Path) -> None:
    acknowledged: set[str] = set()
    for _ in range(10):
        acknowledged |= killed_while_writing(path, random.randint(1, 40))
        store = SqliteStore(path)
        store.open()
        totals = store.statistics().all
        assert store.search(Filter(state="running")).calls == []
        assert all(store.call(id) for id in acknowledged)
        store.close()
        assert integrity(path) == "ok"
        assert totals.completed == count(path, "state = 'completed'") >= len(acknowledged)
        assert totals.interrupted == count(path, "state = 'interrupted' AND reason = 'crash'")
        assert totals.requests == count(path, "1")
        assert in_series(path) == {"": totals.requests, "m:latest": totals.requests}
