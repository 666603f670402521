"""The totals of all calls ever stored, as a table: the SQL on a connection.

Not here: transactions and locks (`sqlite.py`), what a total is (`stats.py`).
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from pathlib import Path

import msgspec

from ollama_proxy.stats import Statistics, Summary
from ollama_proxy.storage.database import damaged


def load(connection: sqlite3.Connection, path: Path) -> Statistics:
    """All of them. Raises StoreError."""
    totals = Statistics()
    try:
        for kind, name, data in connection.execute("SELECT kind, name, summary FROM totals"):
            summary = Summary.from_bytes(data)
            if kind == "all":
                totals.all = summary
            elif kind == "model":
                totals.models[name] = summary
            else:
                totals.clients[name] = summary
    except (msgspec.MsgspecError, TypeError) as error:
        raise damaged(path, f"totals: {error}") from error
    return totals


def add(connection: sqlite3.Connection, path: Path, batch: Statistics) -> None:
    """Loads all of them: a few in practice; at the limit, 500 of each kind, some 20 ms a batch."""
    if not batch.all.requests:
        return
    totals = load(connection, path)
    models, clients = totals.merge(batch)
    save(connection, totals, models, clients)


def save(
    connection: sqlite3.Connection,
    totals: Statistics,
    models: Iterable[str],
    clients: Iterable[str],
) -> None:
    """Those of all calls, and of some models and clients."""
    rows = [("all", "", totals.all.to_bytes())]
    rows += [("model", name, totals.models[name].to_bytes()) for name in sorted(models)]
    rows += [("client", name, totals.clients[name].to_bytes()) for name in sorted(clients)]
    connection.executemany("INSERT OR REPLACE INTO totals VALUES (?, ?, ?)", rows)
