"""What `ollama-proxy top` shows, by what a proxy told and which keys were pressed: without any."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from ollama_proxy.top import view as v
from ollama_proxy.top.state import State
from ollama_proxy.top.terminal import Keys
from ollama_proxy.top.view import View, pressed, shown

STATUS = {
    "status": "working",
    "version": "1.0",
    "listen": "127.0.0.1:11435",
    "uptime": 61.0,
    "total_requests": 1234,
    "success_rate": 98.25,
    "upstream_up": True,
    "upstream_version": "0.33.0",
    "upstream_error": None,
    "records_dropped": 0,
    "storage_error": None,
}


def call(id: str, **more: Any) -> dict[str, Any]:
    known = {"id": id, "model": "m", "client": "c", "path": "/api/chat", "duration": 1.0}
    return known | {"output_chunks": None, "time_to_first_token": None} | more


def telling(*calls: dict[str, Any]) -> State:
    state = State()
    state.apply("snapshot", {"status": STATUS, "active": calls})
    return state


def progress(id: str, duration: float, chunks: int) -> list[dict[str, Any]]:
    row = {"id": id, "duration": duration, "output_chunks": chunks, "time_to_first_token": 1.0}
    return [row | {"phase": "answering", "phase_estimated": False, "queue_position": None}]


def test_calls_come_go_on_and_go() -> None:
    state = telling(call("1"))
    state.apply("started", call("2", phase="queued", phase_estimated=True, queue_position=1))
    assert v.call_cells(state, "2") == ("~queued", "1", "m", "c", "1.0s", "", "")
    state.apply("progress", progress("2", 65.0, 1500) + progress("unknown", 1.0, 1))
    assert v.call_cells(state, "2")[:6] == ("answering", "", "m", "c", "1m05s", "1,500")
    state.apply("finished", call("2"))
    state.apply("finished", call("never seen"))
    state.apply("something new", None)
    assert list(state.calls) == ["1"]


def test_a_rate_is_that_of_the_last_seconds_and_at_first_that_of_the_call() -> None:
    state = telling(call("1", duration=3.0, time_to_first_token=1.0, output_chunks=21))
    assert state.rate("1") == 10.0
    for second in range(4, 12):  # twice as fast from now on
        state.apply("progress", progress("1", second, 21 + 20 * (second - 3)))
    assert state.rate("1") == 20.0 == state.rates
    state.apply("progress", progress("1", 31.0, 181))  # and then nothing for a long time
    assert state.rate("1") == 0.0
    assert telling(call("1")).rate("1") is None


def test_a_snapshot_takes_the_place_of_all_that_was_known() -> None:
    state = telling(call("1"), call("2"))
    state.apply("snapshot", {"status": STATUS, "active": [call("3")]})
    assert list(state.calls) == ["3"]


@pytest.mark.parametrize(
    ("sort", "order"),
    [
        ("time", "213"),
        ("phase", "321"),
        ("model", "132"),
        ("client", "231"),
        ("tokens", "123"),
        ("rate", "312"),
    ],
)
def test_calls_are_sorted(sort: str, order: str) -> None:
    said = (
        {"phase": "thinking", "model": "a", "client": "z"},
        {"phase": "reading", "model": "c", "client": "x"},
        {"phase": "answering", "model": "B", "client": "y"},
    )
    measured = (
        {"duration": 2.0, "time_to_first_token": 1.0, "output_chunks": 40},
        {"duration": 9.0, "time_to_first_token": 5.0, "output_chunks": 30},
        {"duration": 1.5, "time_to_first_token": 1.4, "output_chunks": 5},
    )
    state = telling(*(call(id, **a, **b) for id, a, b in zip("123", said, measured, strict=True)))
    assert "".join(shown(state, View(sort=sort))) == order
    assert "".join(shown(state, View(sort=sort, reverse=True))) == order[::-1]


def test_a_filter_looks_at_model_client_phase_and_path() -> None:
    state = telling(
        call("1", model="Qwen3:8b"), call("2", client="backtest.py"), call("3", phase="queued")
    )
    for text, found in (("qwen", "1"), ("BACK", "2"), ("queue", "3"), ("/api/chat", "123")):
        assert "".join(shown(state, View(filter=text))) == found


def after(view: View, keys: list[str], ids: str = "abc") -> View:
    for key in keys:
        view, ended = pressed(view, key, list(ids), page=2)
        assert ended is None
    return view


def test_arrows_choose() -> None:
    for keys, chosen in (
        (["down"], "a"),
        (["up"], "c"),
        (["j", "down", "down", "down"], "c"),
        (["end", "k"], "b"),
        (["down", "pagedown"], "c"),
        (["end", "pageup"], "a"),
        (["home"], "a"),
        (["down", "escape"], None),
    ):
        assert after(View(), keys).chosen == chosen, keys
    assert after(View(), ["down"], "").chosen is None


def test_a_call_is_ended_only_after_a_yes() -> None:
    view = after(View(), ["down", "x"])
    assert view.asked == "a"
    state = telling(call("a", model="qwen3", client="backtest.py"))
    assert v.footing(state, view) == "end the call to qwen3 of backtest.py? y/n"
    for no in ("n", "q", "enter", "x", "escape"):
        denied, ended = pressed(view, no, ["a"])
        assert ended is None and denied.asked is None and not denied.over
    agreed, ended = pressed(view, "y", ["a"])
    assert ended == "a" and agreed.asked is None
    view, ended = pressed(after(View(), ["x"]), "y", ["a"])
    assert ended is None  # none was chosen


def test_a_filter_is_typed_and_its_keys_do_nothing_else() -> None:
    view = after(View(), ["/", *"qwx", "backspace"])
    assert (view.filter, view.typing, view.over) == ("qw", True, False)
    assert after(view, ["enter"]).filter == "qw" and not after(view, ["enter"]).typing
    assert after(view, ["enter", "escape"]).filter == ""
    assert after(view, ["escape"]) == View()


def test_keys_for_the_order_and_the_end() -> None:
    orders = [after(View(), ["s"] * count).sort for count in range(len(v.SORTS) + 1)]
    assert orders[:-1] == list(v.SORTS) and orders[-1] == "time"
    assert after(View(), ["r"]).reverse and not after(View(), ["r", "r"]).reverse
    assert after(View(), ["q"]).over and after(View(), ["quit"]).over


@pytest.mark.parametrize("height", range(1, 60))
def test_all_lines_of_a_terminal_are_used_and_no_more(height: int) -> None:
    for counts in itertools.product((0, 1, 30), repeat=3):
        calls, *others = v.lines(height, *counts)
        used = 3 + 1 + calls + sum(count + 1 for count in others if count)
        assert used == height if height >= 4 else calls == 0
        assert height < 24 or calls >= 5


def test_the_chosen_call_is_among_those_that_there_is_room_for() -> None:
    ids = [str(number) for number in range(100)]
    for chosen, lines in itertools.product(("0", "50", "99", None), (1, 6)):
        first, last = v.window(ids, chosen, lines)
        assert last - first == lines and (chosen is None or chosen in ids[first:last])
    assert v.window(ids[:3], None, 6) == (0, 3)


def test_names_cannot_write_to_the_terminal() -> None:
    state = telling(call("1", model="\x1b[2Jm\u202e\n", client="\x9b31m"))
    assert v.call_cells(state, "1")[2:4] == ("?[2Jm??", "?31m")
    assert v.clean("11\u202fs \u00a0é") == "11 s  é"


def test_the_heading_says_whether_it_works() -> None:
    state = telling(call("1", phase="queued"), call("2", phase="waiting_to_load"))
    first, second = v.heading(state)
    assert first == "ollama-proxy 1.0  127.0.0.1:11435  working  Ollama 0.33.0 answers"
    assert second == ("2 running  2 waiting  0.0 tok/s  1,234 calls  98.2 % went well  up 1m01s")
    down = STATUS | {"upstream_up": False, "upstream_error": "Connection refused"}
    state.apply("status", down | {"records_dropped": 3})
    first, second = v.heading(state)
    assert "does not answer: Connection refused" in first and "RECORDS ARE LOST" in second
    state.trouble = "no answer in time"
    assert v.heading(state)[1] == "NOT OF NOW: no answer in time"


def test_one_call_is_no_calls() -> None:
    state = telling()
    state.apply("status", STATUS | {"total_requests": 1, "success_rate": None})
    assert v.heading(state)[1] == "0 running  0 waiting  0.0 tok/s  1 call  up 1m01s"


def test_models_in_memory_and_clients() -> None:
    model = {"name": "m", "loaded": True, "active": 1, "size_loaded": 4e9, "size_vram": 3e9}
    model |= {"context_length": 8192, "expires_at": "2026-01-01T00:05:00.123456789Z"}
    model |= {"stats": {"tokens_per_second": {"p50": 41.26}}}
    now = 1_767_225_600.0  # 2026-01-01
    cells = v.model_cells([model, model | {"name": "on disk", "loaded": False}], now)
    assert cells == [("m", "4.0 GB", "75%", "8,192", "in 5m00s", "1", "41.3")]
    client = {"name": "a", "active": 0, "requests": 1200, "failed": 1, "timeout": 2}
    client |= {"total_tokens": 5000, "duration": {"p50": 2.0}, "last_used": "2025-12-31T23:00:00Z"}
    cells = v.client_cells([client, client | {"name": "b", "active": 2}], now)
    assert [row[0] for row in cells] == ["b", "a"]
    assert cells[1][1:] == ("0", "1,200", "3", "5,000", "2.0s", "1h00m ago")


def test_keys_come_whole_whatever_the_pieces() -> None:
    typed = "q\x1b[A\x1bOB\x1b[5~é\x1b[1;5Cx\r\x7f"
    wanted = ["q", "up", "down", "pageup", "é", "x", "enter", "backspace"]
    assert Keys().feed(typed.encode()) == wanted
    keys = Keys()
    assert [name for byte in typed.encode() for name in keys.feed(bytes([byte]))] == wanted
    assert keys.feed(b"\x1b") == [] and keys.begun and keys.rest() == ["escape"]
    assert not keys.begun
