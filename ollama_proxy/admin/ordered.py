"""The order of a table that is made once for who asks: by a column that the address names.

Names rise, numbers fall, what is not known stands last; `sort=-calls` turns that round. Pure. Not
here: lists of calls, which the store sorts (`lists.py`), what a row says (`rows.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

from ollama_proxy.admin.rows import FEW
from ollama_proxy.ids import epoch

Row = dict[str, Any]
Value = Callable[[Row], str | float | None]
"""What a column sorts by: a text or a number; None is not known."""


class Ordered(NamedTuple):
    """The rows in their order. `by`: the column; `turned`: against its own direction; `rises`: from
    the least on."""

    rows: list[Row]
    by: str
    turned: bool
    rises: bool

    @property
    def said(self) -> str:
        """As `aria-sort` says it."""
        return "ascending" if self.rises else "descending"

    @property
    def asked(self) -> str:
        """As the address says it."""
        return f"-{self.by}" if self.turned else self.by

    def link(self, column: str) -> str:
        """The address's value that sorts by that column, or turns it round."""
        return f"-{column}" if column == self.by and not self.turned else column


def ordered(rows: Iterable[Row], columns: Mapping[str, Value], asked: str, usual: str) -> Ordered:
    """`asked`: a name of `columns`, or one behind a minus; for anything else it is `usual`. Rows of
    one value keep the order in which they come."""
    by = asked.removeprefix("-")
    by, turned = (by, by != asked) if by in columns else (usual, False)
    value = columns[by]
    told = [(value(row), row) for row in rows]
    known = [pair for pair in told if pair[0] is not None]
    rises = turned != any(isinstance(one, str) for one, _ in known)
    known.sort(key=lambda pair: pair[0], reverse=not rises)  # type: ignore[arg-type, return-value]
    rest = [row for one, row in told if one is None]
    return Ordered([row for _, row in known] + rest, by, turned, rises)


def text(key: str) -> Value:
    return lambda row: str(row[key]).lower()


def number(key: str) -> Value:
    return lambda row: row[key]


def moment(key: str) -> Value:
    return lambda row: epoch(row[key]) if row[key] else None


def median(key: str) -> Value:
    """None of too few, as the row itself says."""

    def value(row: Row) -> float | None:
        spread = row[key] or {"count": 0}
        return spread["p50"] if spread["count"] >= FEW["p50"] else None

    return value


def total(*keys: str) -> Value:
    return lambda row: sum(row[key] for key in keys)


def of(key: str, value: Value) -> Value:
    """The same of a row's part; None where it has none."""
    return lambda row: None if row[key] is None else value(row[key])
