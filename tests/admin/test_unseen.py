"""Clients whose process was not found: which they are, and that the page of clients says so."""

from __future__ import annotations

from typing import Any

from ollama_proxy.admin.unseen import unseen
from ollama_proxy.exchange import Call
from tests.storage.calls import make_call


def by(client: str, caller: dict[str, Any] | None) -> Call:
    return make_call(client=client, caller=caller)


def test_a_user_agent_or_an_address_without_process_is_told() -> None:
    recent = [
        by("backtest.py", {"pid": 7, "script": "backtest.py"}),
        by("127.0.0.1", None),
        by("curl/8.5.0", {"user": "joe"}),
        by("python-requests/2.32.3", None),
        by("python-requests/2.32.3", {"user": "joe"}),
        by("night-batch", None),  # it says so itself
        by("curl/8.5.0 (10.0.0.9)", None),  # from elsewhere
        by("team/app", {"pid": 9, "program": "app"}),
    ]
    assert unseen({call.client or "" for call in recent}, recent) == {
        "127.0.0.1": None,
        "curl/8.5.0": "joe",
        "python-requests/2.32.3": None,
    }


def test_of_those_that_did_not_call_lately_only_an_address_tells() -> None:
    assert unseen(["::1", "curl/8.5.0", "backtest.py"], []) == {"::1": None}
