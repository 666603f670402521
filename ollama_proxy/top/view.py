"""What is chosen to be seen, what a key changes about it, and the rows that follow. Pure.

Not here: bytes of a terminal (`terminal.py`), colours and widths (`screen.py`).
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from ollama_proxy.ids import epoch
from ollama_proxy.top.state import Row, State, latest, loaded

Cells = tuple[str, ...]
SORTS: dict[str, Callable[[State, Row], Any]] = {
    "time": lambda state, call: -(call.get("duration") or 0.0),
    "phase": lambda state, call: (call.get("phase") or "", call.get("queue_position") or 0),
    "model": lambda state, call: (call.get("model") or "").lower(),
    "client": lambda state, call: (call.get("client") or "").lower(),
    "tokens": lambda state, call: -(call.get("output_chunks") or 0),
    "rate": lambda state, call: -(state.rate(call["id"]) or 0.0),
}
CALLS = ("phase", "pos", "model", "client", "time", "tokens", "tok/s")
MODELS = ("in memory", "size", "GPU", "context", "unloads", "runs", "tok/s")
CLIENTS = ("client", "runs", "calls", "failed", "tokens", "median", "last")
FINDINGS = ("found in the last day",)
WAITING = ("queued", "waiting_to_load")
FILTER_CHARACTERS = 40


class View(msgspec.Struct, frozen=True):
    """`chosen`: the id of the call that a key is for. `asked`: that of which the question is
    whether to end it. `typing`: keys go into the filter. `message`: what the last key led to."""

    sort: str = "time"
    reverse: bool = False
    filter: str = ""
    chosen: str | None = None
    typing: bool = False
    asked: str | None = None
    message: str = ""
    over: bool = False


def shown(state: State, view: View) -> list[str]:
    """The running calls that the filter lets through, in their order."""
    wanted = view.filter.lower()
    found = [call for call in state.calls.values() if not wanted or wanted in _searched(call)]
    found.sort(key=lambda call: str(call["id"]))
    found.sort(key=lambda call: SORTS[view.sort](state, call), reverse=view.reverse)
    return [call["id"] for call in found]


def pressed(view: View, key: str, ids: Sequence[str], page: int = 10) -> tuple[View, str | None]:
    """What a key makes of the view, of which `ids` are seen, `page` of them at once; and the id of
    a call that is to be ended."""
    replace = msgspec.structs.replace
    view = replace(view, message="")
    if view.typing:
        return _typed(view, key), None
    if view.asked is not None:
        asked = view.asked
        view = replace(view, asked=None)
        if key in ("y", "Y"):
            return replace(view, message="ending it …"), asked
        return replace(view, message="not ended"), None
    if key in ("q", "Q", "quit"):
        return replace(view, over=True), None
    if key in ("x", "delete"):
        if view.chosen not in ids:
            return replace(view, message="choose a call first: ↑ ↓"), None
        return replace(view, asked=view.chosen), None
    if key == "s":
        names = list(SORTS)
        return replace(view, sort=names[(names.index(view.sort) + 1) % len(names)]), None
    if key == "r":
        return replace(view, reverse=not view.reverse), None
    if key == "/":
        return replace(view, typing=True), None
    if key == "escape":
        return replace(view, filter="", chosen=None), None
    return replace(view, chosen=_moved(view.chosen, key, ids, page)), None


def _typed(view: View, key: str) -> View:
    replace = msgspec.structs.replace
    if key == "enter":
        return replace(view, typing=False)
    if key in ("escape", "quit"):
        return replace(view, typing=False, filter="")
    if key == "backspace":
        return replace(view, filter=view.filter[:-1])
    if len(key) == 1 and len(view.filter) < FILTER_CHARACTERS:
        return replace(view, filter=view.filter + key)
    return view


def _moved(chosen: str | None, key: str, ids: Sequence[str], page: int) -> str | None:
    steps = {"up": -1, "k": -1, "down": 1, "j": 1, "pageup": -page, "pagedown": page}
    far = {"home": 0, "end": len(ids) - 1}
    if not ids or key not in steps | far:
        return chosen
    if key in far:
        return ids[far[key]]
    if chosen not in ids:
        return ids[0] if steps[key] > 0 else ids[-1]
    return ids[max(0, min(len(ids) - 1, ids.index(chosen) + steps[key]))]


def window(ids: Sequence[str], chosen: str | None, lines: int) -> tuple[int, int]:
    """Which of the rows are seen where so many lines are for them: the chosen one among them."""
    at = ids.index(chosen) if chosen in ids else 0
    first = max(0, min(at - lines // 2, len(ids) - lines))
    return first, min(len(ids), first + max(0, lines))


def lines(height: int, models: int, clients: int, findings: int) -> tuple[int, int, int, int]:
    """How many rows calls, models, clients and findings get in a terminal of this height.

    Two lines are the heading, one tells of the keys, and each part has one above its rows.
    """
    body = height - 3
    most = (0, 0, 0) if body < 9 else (max(1, body // 5), max(1, body // 5), max(1, body // 6))
    given = [
        min(count, limit) for count, limit in zip((models, clients, findings), most, strict=True)
    ]
    taken = sum(count + 1 for count in given if count)
    return max(0, body - taken - 1), given[0], given[1], given[2]


def call_cells(state: State, id: str) -> Cells:
    call = state.calls[id]
    phase = (call.get("phase") or "starting").replace("_", " ")
    position, rate = call.get("queue_position"), state.rate(id)
    return (
        f"~{phase}" if call.get("phase_estimated") else phase,
        "" if position is None else str(position),
        clean(call.get("model") or call.get("path")),
        clean(call.get("client")),
        seconds(call.get("duration")),
        "" if call.get("output_chunks") is None else f"{call['output_chunks']:,}",
        "" if rate is None else f"{rate:.1f}",
    )


def model_cells(models: list[Row], now: float) -> list[Cells]:
    rows: list[Cells] = []
    for one in loaded(models):
        size, vram = one.get("size_loaded"), one.get("size_vram")
        context = one.get("context_length")
        rows.append(
            (
                clean(one["name"]),
                amount(size),
                f"{vram / size:.0%}" if size and vram is not None else "",
                "" if context is None else f"{context:,}",
                _left(one.get("expires_at"), now),
                str(one["active"]),
                _median(one.get("stats"), "tokens_per_second", lambda value: f"{value:.1f}"),
            )
        )
    return rows


def client_cells(clients: list[Row], now: float) -> list[Cells]:
    rows: list[Cells] = []
    for one in latest(clients):
        last = one.get("last_used")
        rows.append(
            (
                clean(one["name"]),
                str(one["active"]),
                f"{one['requests']:,}",
                f"{one['failed'] + one['timeout']:,}",
                f"{one['total_tokens']:,}",
                _median(one, "duration", seconds),
                f"{seconds(now - epoch(last))} ago" if last else "",
            )
        )
    return rows


def finding_cells(findings: list[Row]) -> list[Cells]:
    return [(clean(one["text"]["en"], 400),) for one in findings]


def heading(state: State) -> tuple[str, str]:
    """Two lines: what it is and whether it works; how much of it."""
    told = state.status
    if not told:
        return "ollama-proxy", state.trouble or "asking …"
    ollama = f"Ollama {clean(told['upstream_version'])} answers"
    if told["upstream_up"] and told["upstream_version"] is None:
        ollama = "what answers is not Ollama"
    if told["upstream_up"] is None:
        ollama = "Ollama was not looked at yet"
    elif not told["upstream_up"]:
        ollama = f"Ollama does not answer: {clean(told['upstream_error'], 80)}"
    first = f"ollama-proxy {told['version']}  {clean(told['listen'])}  {told['status']}  {ollama}"
    if state.trouble:
        return first, f"NOT OF NOW: {state.trouble}"
    waiting = sum(call.get("phase") in WAITING for call in state.calls.values())
    parts = [f"{len(state.calls)} running", f"{waiting} waiting", f"{state.rates:.1f} tok/s"]
    calls = told["total_requests"]
    parts.append(f"{calls:,} {'call' if calls == 1 else 'calls'}")
    if told["success_rate"] is not None:
        parts.append(f"{told['success_rate']:.1f} % went well")
    if told["storage_error"] or told["records_dropped"]:
        parts.append("RECORDS ARE LOST: see ollama-proxy test")
    return first, "  ".join([*parts, f"up {seconds(told['uptime'])}"])


def footing(state: State, view: View) -> str:
    """The last line: a question, what a key led to, or the keys."""
    if view.typing:
        return f"filter: {view.filter}▏  enter keeps it, esc ends it"
    if view.asked is not None:
        call = state.calls.get(view.asked, {})
        of = f" of {clean(call['client'], 20)}" if call.get("client") else ""
        return f"end the call to {clean(call.get('model') or 'Ollama', 30)}{of}? y/n"
    if view.message:
        return view.message
    filtered = f" ({view.filter})" if view.filter else ""
    order = view.sort + (" ↑" if view.reverse else "")
    return f"q quit  ↑↓ choose  x end it  s sort: {order}  r reverse  / filter{filtered}"


def clean(text: str | None, most: int = 100) -> str:
    """A text as a terminal may show it: no control characters, none that turn its direction; all
    kinds of blanks are one."""
    return "".join(map(_shown, (text or "")[:most]))


def _shown(character: str) -> str:
    if character.isprintable():
        return character
    return " " if unicodedata.category(character) == "Zs" else "?"


def seconds(value: float | None) -> str:
    if value is None:
        return ""
    value = max(0.0, value)
    if value < 60:
        return f"{value:.1f}s"
    if value < 3600:
        return (
            f"{value // 60:.0f}m{value % 60:02.0f}s" if value % 60 < 59.5 else f"{value / 60:.0f}m"
        )
    if value < 172_800:
        return f"{value // 3600:.0f}h{value % 3600 // 60:02.0f}m"
    return f"{value // 86_400:.0f}d"


def amount(size: int | None) -> str:
    return "" if size is None else f"{size / 1e9:.1f} GB"


def _median(stats: Row | None, name: str, told: Callable[[float], str]) -> str:
    value = ((stats or {}).get(name) or {}).get("p50")
    return "" if value is None else told(value)


def _left(expires_at: str | None, now: float) -> str:
    try:
        return f"in {seconds(epoch(expires_at) - now)}" if expires_at else ""
    except ValueError:
        return ""


def _searched(call: Row) -> str:
    parts = (call.get(name) or "" for name in ("model", "client", "phase", "path"))
    return " ".join(parts).lower()
