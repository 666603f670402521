"""Draws a view with rich: widths, colours, which rows there is room for.

Not here: what the cells say (`view.py`), the terminal's keys (`terminal.py`).
"""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console, Group, OverflowMethod, RenderableType
from rich.table import Table
from rich.text import Text

from ollama_proxy.top import view as v
from ollama_proxy.top.state import State
from ollama_proxy.top.view import Cells, View

WIDE = 120
"""Columns where nobody says how many there are, as in a pipe."""
_RIGHT = {"pos", "time", "tokens", "tok/s", "size", "GPU", "context", "unloads", "runs", "calls"}
_RIGHT |= {"failed", "median", "last"}
_WIDTHS = {"phase": 16, "pos": 3, "time": 7, "tokens": 7, "tok/s": 6, "size": 8, "GPU": 5}
_WIDTHS |= {"context": 8, "unloads": 9, "runs": 4, "calls": 7, "failed": 6, "median": 7, "last": 10}


def drawn(state: State, view: View, height: int, now: float) -> RenderableType:
    """All of it in so many lines, one a row."""
    models, clients = v.model_cells(state.models, now), v.client_cells(state.clients, now)
    findings = v.finding_cells(state.findings)
    room = v.lines(height, len(models), len(clients), len(findings))
    ids = v.shown(state, view)
    first, last = v.window(ids, view.chosen, room[0])
    seen = ids[first:last]
    calls = _table(
        v.CALLS,
        [v.call_cells(state, id) for id in seen],
        seen.index(view.chosen) if view.chosen in seen else None,
        more=len(ids) - len(seen),
    )
    blank = [Text("") for _ in range(room[0] - len(seen))]
    parts: list[RenderableType] = [*_heading(state), calls, *blank]
    parts += [
        _table(columns, rows[:count])
        for columns, rows, count in zip(
            (v.MODELS, v.CLIENTS, v.FINDINGS), (models, clients, findings), room[1:], strict=True
        )
        if count
    ]
    question = view.asked is not None
    foot = Text(v.footing(state, view), style="bold yellow" if question else "dim", no_wrap=True)
    return Group(*parts, foot)


def printed(state: State, view: View, console: Console, now: float) -> None:
    """Everything once, with no limit to its length."""
    for line in _heading(state):
        console.print(line)
    ids = v.shown(state, view)
    for columns, rows in (
        (v.CALLS, [v.call_cells(state, id) for id in ids]),
        (v.MODELS, v.model_cells(state.models, now)),
        (v.CLIENTS, v.client_cells(state.clients, now)),
        (v.FINDINGS, v.finding_cells(state.findings)),
    ):
        if rows:
            console.print()
            console.print(_table(columns, rows, cut=False))


def _heading(state: State) -> list[Text]:
    first, second = v.heading(state)
    well = state.trouble is None and state.status.get("status") in ("idle", "working")
    return [
        Text(first, style="bold" if well else "bold red", no_wrap=True, overflow="ellipsis"),
        Text(second, style="red" if state.trouble else "", no_wrap=True, overflow="ellipsis"),
    ]


def _table(
    columns: Cells,
    rows: Sequence[Cells],
    chosen: int | None = None,
    more: int = 0,
    cut: bool = True,
) -> Table:
    """`more`: rows that there is no room for. `cut`: each row is one line, however long."""
    table = Table(box=None, expand=True, pad_edge=False, header_style="bold cyan")
    overflow: OverflowMethod = "ellipsis" if cut else "fold"
    for name in columns:
        title = f"PHASE +{more}" if more and name == "phase" else name.upper()
        table.add_column(
            Text(title, no_wrap=True, overflow="ellipsis"),
            justify="right" if name in _RIGHT else "left",
            width=_WIDTHS.get(name),
            ratio=None if name in _WIDTHS else 1,
            no_wrap=cut,
            overflow=overflow,
        )
    for number, cells in enumerate(rows):
        style = "reverse" if number == chosen else ""
        table.add_row(*(Text(cell, overflow=overflow) for cell in cells), style=style)
    return table
