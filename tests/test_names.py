"""Who a client says it is: what is believed, and what is left of the target."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

import pytest

from ollama_proxy.names import Naming, by_agent, split_app

KEYED = Naming(header="X-Client", keys={hashlib.sha256(b"sk-1").hexdigest(): "signals"})


@pytest.mark.parametrize(
    ("target", "name", "rest"),
    [
        ("/app/bot/api/chat", "bot", "/api/chat"),
        ("/app/my-bot.v2/v1/models?x=/app/y", "my-bot.v2", "/v1/models?x=/app/y"),
        ("/app/bot", "bot", "/"),
        ("/app/bot?x=1", "bot", "/?x=1"),
        ("/app/bot//api//tags", "bot", "//api//tags"),
        ("/app/bot/app/other/api/tags", "bot", "/app/other/api/tags"),
    ],
)
def test_a_path_in_ollama_host_names_the_program(target: str, name: str, rest: str) -> None:
    assert split_app(target.encode()) == (name, rest.encode())


@pytest.mark.parametrize(
    "target",
    [
        "/",
        "*",
        "/app/",
        "/app//api/tags",
        "/app/a%2Fb/api/tags",
        "/app/" + "x" * 65 + "/a",
        "/apps/x/",
        "/app/./a",
        "/app/../a",
        "/app/..",
    ],
)
def test_any_other_target_stays_as_it_is(target: str) -> None:
    assert split_app(target.encode()) == (None, target.encode())


def getter(headers: dict[str, str]) -> Callable[[bytes], str]:
    values = {name.lower().encode(): value for name, value in headers.items()}
    return lambda name: values.get(name, "")


@pytest.mark.parametrize(
    ("headers", "name"),
    [
        ({}, None),
        ({"x-client": "backtest"}, "backtest"),
        ({"X-Client": " a\x1b[31mb\u2028 "}, "a[31mb"),
        ({"X-Client": "n" * 200}, "n" * 64),
        ({"X-Client": "\x00"}, None),
        ({"Authorization": "Bearer sk-1"}, "signals"),
        ({"authorization": "bearer  sk-1"}, "signals"),
        ({"X-API-Key": "sk-1"}, "signals"),
        ({"Authorization": "Bearer sk-2"}, None),
        ({"Authorization": "Bearer sk-1", "X-Client": "stronger"}, "stronger"),
    ],
)
def test_a_header_or_a_key_names_it(headers: dict[str, str], name: str | None) -> None:
    assert KEYED.name_of(getter(headers)) == name


def test_without_rules_no_header_is_believed() -> None:
    assert Naming().name_of(getter({"X-Client": "a", "Authorization": "Bearer sk-1"})) is None


@pytest.mark.parametrize(
    ("agent", "name"),
    [
        ("python-requests/2.32", "python-requests/2.32"),
        ("sk-proj-UAKEY0123456789abcdefgh x", "127.0.0.1"),
        ("bot password=hunter2hunter2", "127.0.0.1"),
        ("mario.rossi@example.com", "127.0.0.1"),
    ],
)
def test_a_user_agent_that_may_hold_a_secret_names_nobody(agent: str, name: str) -> None:
    assert by_agent(agent, "127.0.0.1") == name
