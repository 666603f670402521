"""What storage engines share: the `Store` they are, the columns, the steps of the schema.

Not here: any engine, any I/O. The columns are `Call`'s fields: one more field takes one more step
in `MIGRATIONS` (a test compares the two).
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, Protocol

import msgspec

from ollama_proxy.charts import Asked
from ollama_proxy.exchange import Call, text_size
from ollama_proxy.filters import place, place_text
from ollama_proxy.records import Filter, Finding, Flip, Holdings, Mark, Noted, Occurrence
from ollama_proxy.replay import Capture
from ollama_proxy.series import Gauges, Tally
from ollama_proxy.stats import Statistics

COLUMNS: tuple[str, ...] = Call.__struct_fields__
# A page of history, not an export: with full prompts kept 1000 calls could be 2 GB, and an answer
# is encoded on the event loop (a page this long in 10 to 70 ms).
MAX_LIMIT = 1000
PAGE_CHARACTERS = 8 << 20
BEYOND_64_BITS = 2**63
_AS_JSON = (
    *("options", "tool_names", "caller", "resources", "insights", "pace", "headers", "in_force"),
)
_TRUTHS = ("streamed", "prefill_cached")

Migrations = Mapping[int, Sequence[str]]

# Schema version → what brings the one before to it. A released step is never changed.
MIGRATIONS: Migrations = {
    1: [
        """
        CREATE TABLE calls (
            id TEXT PRIMARY KEY NOT NULL,
            method TEXT NOT NULL,
            path TEXT NOT NULL,
            model TEXT,
            state TEXT NOT NULL,
            reason TEXT,
            status_code INTEGER,
            started_at TEXT NOT NULL,
            duration REAL,
            time_to_first_token REAL,
            queue REAL,
            load REAL,
            prefill REAL,
            decode REAL,
            input_tokens INTEGER,
            output_tokens INTEGER,
            tokens_per_second REAL,
            streamed INTEGER,
            done_reason TEXT,
            error TEXT,
            prompt TEXT,
            response TEXT,
            client TEXT,
            request_bytes INTEGER NOT NULL,
            response_bytes INTEGER NOT NULL,
            output_chunks INTEGER,
            options TEXT,
            not_understood INTEGER NOT NULL
        )
        """,
        "CREATE INDEX calls_by_model ON calls (model, id)",
        "CREATE INDEX calls_by_state ON calls (state, id)",
        "CREATE INDEX calls_by_model_and_state ON calls (model, state, id)",
        """
        CREATE TABLE totals (
            kind TEXT NOT NULL,
            name TEXT NOT NULL,
            summary BLOB NOT NULL,
            PRIMARY KEY (kind, name)
        )
        """,
    ],
    2: [
        f"ALTER TABLE calls ADD COLUMN {column}"
        for column in (
            "connect REAL",
            "time_to_first_byte REAL",
            "time_to_first_answer REAL",
            "longest_gap REAL",
            "p95_gap REAL",
            "thinking_characters INTEGER",
            "tool_calls INTEGER",
            "tool_names TEXT",
            "images INTEGER",
            "image_bytes INTEGER",
            "caller TEXT",
            "resources TEXT",
        )
    ]
    + [
        f"DROP INDEX {index}"
        for index in ("calls_by_model", "calls_by_state", "calls_by_model_and_state")
    ]
    + [
        # One index for every filter. For 200,000 calls a scan of it takes 20 ms, of the table 110;
        # an index for each filter costs a write twice as much, and is no help to two together.
        "CREATE INDEX calls_to_search ON calls (id, client, model, state, path, reason, duration)",
        "CREATE INDEX calls_running ON calls (id) WHERE state = 'running'",
        "CREATE TABLE captures (id TEXT PRIMARY KEY NOT NULL, capture BLOB NOT NULL)",
        "CREATE TRIGGER calls_forgotten AFTER DELETE ON calls"
        " BEGIN DELETE FROM captures WHERE id = OLD.id; END",
    ],
    3: [
        "ALTER TABLE calls ADD COLUMN time_per_output_token REAL",
        "ALTER TABLE calls ADD COLUMN prefill_cached INTEGER",
        "CREATE TABLE marks (id TEXT PRIMARY KEY NOT NULL, at TEXT NOT NULL, kind TEXT NOT NULL,"
        " subject TEXT NOT NULL, old TEXT NOT NULL, new TEXT NOT NULL)",
        "CREATE TABLE known (kind TEXT NOT NULL, subject TEXT NOT NULL, value TEXT NOT NULL,"
        " PRIMARY KEY (kind, subject))",
    ],
    4: [
        "ALTER TABLE calls ADD COLUMN insights TEXT",
        "CREATE TABLE findings (id TEXT PRIMARY KEY NOT NULL, kind TEXT NOT NULL, model TEXT,"
        " client TEXT, other TEXT, detail TEXT, last TEXT NOT NULL)",
        "CREATE INDEX findings_by_subject ON findings (kind, model, client, other, detail, last)",
        "CREATE TABLE occurrences (call TEXT NOT NULL, finding TEXT NOT NULL, tokens INTEGER,"
        " seconds REAL, needed INTEGER, estimated INTEGER NOT NULL, PRIMARY KEY (call, finding))"
        " WITHOUT ROWID",
        "CREATE INDEX occurrences_by_finding ON occurrences (finding, call)",
        "CREATE TRIGGER occurrences_forgotten AFTER DELETE ON calls"
        " BEGIN DELETE FROM occurrences WHERE call = OLD.id; END",
    ],
    5: [
        "CREATE TABLE series (step INTEGER NOT NULL, at INTEGER NOT NULL, model TEXT NOT NULL,"
        " tally BLOB NOT NULL, PRIMARY KEY (step, at, model)) WITHOUT ROWID",
        # All that is stored by now is above no id, and so yet to be counted.
        "CREATE TABLE series_from (id TEXT NOT NULL)",
        "INSERT INTO series_from SELECT coalesce(max(id) || '~', '') FROM calls",
    ],
    6: [
        "DROP INDEX calls_to_search",
        # Sorting reads this one, too: 20 ms for 200,000 calls. It is a tenth larger so, and a
        # write takes no longer; an index for each order would make one twice as long.
        "CREATE INDEX calls_to_search ON calls (id, client, model, state, path, reason, duration,"
        " queue, time_to_first_token, output_tokens)",
    ],
    7: [f"ALTER TABLE calls ADD COLUMN {name} TEXT" for name in ("pace", "headers", "in_force")],
    8: [
        "CREATE TABLE flips (id TEXT PRIMARY KEY NOT NULL, at TEXT NOT NULL, rule TEXT NOT NULL,"
        " kind TEXT NOT NULL, subject TEXT NOT NULL, old TEXT NOT NULL, new TEXT NOT NULL,"
        ' value REAL NOT NULL, "limit" REAL, within REAL, detail TEXT)',
        "CREATE INDEX flips_by_subject ON flips (rule, subject, id)",
        "CREATE TABLE silences (rule TEXT PRIMARY KEY NOT NULL, until REAL NOT NULL)",
    ],
    9: [
        # What is named there is to be counted anew, by `recounting.py`.
        "CREATE TABLE recounts (what TEXT PRIMARY KEY NOT NULL)",
        "INSERT INTO recounts VALUES ('times')",
        # Of options that differ the values; which those are is the finding's own detail.
        "ALTER TABLE occurrences ADD COLUMN option_values TEXT",
    ],
}


class Found(msgspec.Struct, frozen=True):
    """A page of calls. `scanned_to`: the search ended at this id for lack of time, and there may
    be more below it; sorted are those from it on. `incomplete`: the store did not answer, there may
    be others."""

    calls: list[Call]
    scanned_to: str | None = None
    incomplete: bool = False


class Store(Protocol):
    """Keeps calls and their totals. Every method may raise `StoreError` and is safe in any thread.

    Any other exception from `write` means that a row cannot be stored as it is: trying again will
    not help, another row may still be written.
    """

    def open(self, running: Collection[str] = ()) -> None:
        """Get ready: migrate, and turn calls found running into `interrupted`, reason `crash`; but
        not those of the ids `running`, which are in other hands. Once closed it may be opened anew.
        """

    def write(
        self,
        calls: Sequence[Call],
        captures: Sequence[Capture] = (),
        noted: Sequence[Noted] = (),
    ) -> None:
        """Store all or none. A finished row stays as it is, and is counted in the totals once.

        `captures` are of these calls, and are forgotten with them. `noted` is what was found out
        about calls that were stored before; twice is as once.
        """

    def statistics(self) -> Statistics:
        """The totals of every call ever stored, those since pruned included."""

    def search(self, wanted: Filter) -> Found:
        """One `page` of at most `MAX_LIMIT`."""

    def oldest(self, wanted: Filter) -> str | None:
        """The id of the oldest call that the filter describes, its limit aside. May raise
        `TooLong`."""

    def call(self, id: str) -> Call | None: ...

    def capture(self, id: str) -> Capture | None: ...

    def holdings(self) -> Holdings:
        """Looks through all calls."""

    def mark(self, marks: Sequence[Mark]) -> None:
        """Keep what a look found new."""

    def known(self) -> dict[tuple[str, str], str]:
        """What was last known of Ollama, by kind and subject; see `marks.py`."""

    def marks(self, wanted: Filter) -> list[Mark]:
        """Changes in Ollama, newest first, by the filter's ids and its limit."""

    def flip(self, flips: Sequence[Flip]) -> None:
        """Keep alerts' flips."""

    def flips(self, wanted: Filter) -> list[Flip]:
        """Alerts' flips, newest first, by the filter's ids and its limit."""

    def standing(self) -> tuple[list[Flip], dict[str, float]]:
        """The last flip of each alert's subject, and until when rules are silenced."""

    def silence(self, rule: str, until: float) -> None:
        """Until then, in seconds since 1970; 0 ends it."""

    def findings(self, wanted: Filter) -> list[Finding]:
        """Those with calls in the span of the filter, of its client and model, if it names them;
        those that cost most first."""

    def finding(self, id: str) -> Finding | None: ...

    def waits(self, call: str) -> list[Occurrence]:
        """For whom the call of this id waited, the longest first."""

    def gauge(self, gauges: Sequence[tuple[int, Gauges]]) -> None:
        """Keep what was sampled of the machine, by minute, beside what is kept of it so far."""

    def series(self, asked: Asked) -> dict[int, Tally]:
        """The calls that ended, and the gauges, by the beginning of each step; those of which
        nothing is known are not there. Calls since pruned are included."""

    def prune(
        self, max_age_days: float | None, max_bytes: int | None, max_rows: int | None = None
    ) -> bool:
        """One short step of forgetting the oldest calls, and of keeping the series small and whole.
        None is no limit. True: call again."""

    def size_bytes(self) -> int:
        """What the store takes on disk."""

    def close(self) -> None: ...


def page(calls: Iterable[Call], limit: int) -> list[Call]:
    """The first of `calls`: up to `limit`, or to the one whose texts fill `PAGE_CHARACTERS`.

    That one is still in the page. So pages of several stores' calls, merged and cut like this once
    more, end before any of them did. Of `calls` no more are asked for than are in the page.
    """
    taken: list[Call] = []
    characters = 0
    for call in calls if limit > 0 else ():
        taken.append(call)
        characters += text_size(call)
        if len(taken) >= limit or characters >= PAGE_CHARACTERS:
            break
    return taken


def following(wanted: Filter, found: Found) -> Filter | None:
    """What asks for the calls after this page; None if there are none."""
    left, next_ = wanted.limit - len(found.calls), onward(wanted, found)
    if next_ is None or left <= 0:
        return None
    return msgspec.structs.replace(wanted, **{next_[0]: next_[1]}, limit=left)


def onward(wanted: Filter, found: Found) -> tuple[str, str] | None:
    """The field of the filter, and its value, that lead on from this page; None from an empty one.

    A page may be short for many reasons: only an empty one is surely the last.
    """
    last = found.calls[-1] if found.calls else None
    if wanted.sort is not None:
        return None if last is None else ("after", place_text(place(last, wanted.sort)))
    id = found.scanned_to or (None if last is None else last.id)
    return None if id is None else ("before", id)


def from_row(row: Sequence[Any]) -> Call:
    values = dict(zip(COLUMNS, row, strict=True))
    for name in _AS_JSON:
        if values[name] is not None:
            values[name] = json.loads(values[name])
    for name in _TRUTHS:
        if values[name] is not None:
            values[name] = bool(values[name])
    return Call(**values)


def storable(value: Any) -> Any:
    """The value as every engine can take it, so that one odd value does not hold back a batch.

    A lone surrogate becomes `?`, an integer beyond 64 bits None; in JSON both are as they are.
    """
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    if isinstance(value, int) and not -BEYOND_64_BITS <= value < BEYOND_64_BITS:
        return None
    return _json(value) if isinstance(value, dict | list) else value


def _json(value: Any) -> str:
    try:
        return msgspec.json.encode(value).decode()
    except (UnicodeEncodeError, OverflowError):
        return json.dumps(value)
