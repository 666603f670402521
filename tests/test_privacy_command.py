"""`ollama-proxy privacy` and `GET privacy`, beside a running proxy and without one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ollama_proxy.config import load
from ollama_proxy.disclosure import disclosed, told
from ollama_proxy.settings import Address
from ollama_proxy.storage.folder import DATABASE
from ollama_proxy.storage.sqlite import SqliteStore
from tests.processes import run, serving
from tests.storage.calls import make_call

NOWHERE = ["--listen", "127.0.0.1:1", "--admin-listen", "off"]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A data folder with calls in it."""
    store = SqliteStore(tmp_path / "data" / DATABASE)
    store.open()
    store.write([make_call(prompt="p"), make_call(prompt="p", response="r"), make_call()])
    store.close()
    return tmp_path / "data"


async def test_without_a_proxy_by_its_configuration_and_what_is_on_disk(data: Path) -> None:
    code, out, err = await run("privacy", "--data-dir", str(data), *NOWHERE)
    assert (code, err) == (0, "")
    assert "no proxy answers; by this configuration" in out
    assert "truncate: the first 200 characters  (default)" in out
    assert f"{data}  (drwx------)" in out
    assert f"{DATABASE}  (-rw-------, " in out
    assert "\n  calls       3 since " in out
    assert "2 with a prompt\n" in out


async def test_of_no_database_it_says_so_and_makes_none(tmp_path: Path) -> None:
    code, out, err = await run("privacy", "--data-dir", str(tmp_path / "none"), *NOWHERE)
    assert (code, err) == (0, "")
    assert "none: nothing is there" in out
    assert not (tmp_path / "none").exists()


async def test_each_rule_with_where_it_came_from(tmp_path: Path) -> None:
    file = tmp_path / "proxy.toml"
    file.write_text(
        """
        [privacy]
        redact = ["x", "y"]
        redact_mails = false
        [[privacy.rules]]
        client = "backtest.py"
        mode = "none"
        [[privacy.rules]]
        model = "llama3.2"
        route = "/v1/*"
        mode = "full"
        responses = "hash"
        """
    )
    flags = ["--config", str(file), "--privacy-responses", "full"]
    _, out, _ = await run("privacy", *flags, "--data-dir", str(tmp_path / "none"), *NOWHERE)
    assert "responses   full: all of it  (flag --privacy-responses)" in out
    assert "API keys and passwords, card numbers, what matches privacy.redact (2)" in out
    assert "1. client backtest.py: prompts and responses none: nothing\n" in out
    assert "2. model llama3.2, route /v1/*: prompts full: all of it; responses hash: " in out


async def test_a_running_proxy_is_asked_itself(tmp_path: Path) -> None:
    """It may have been started with other settings than those that the command sees."""
    async with serving(tmp_path, "http://127.0.0.1:9", "--privacy-mode", "hash") as program:
        flags = ["--listen", f"127.0.0.1:{program.port}", "--admin-listen", "off"]
        code, out, _ = await run("privacy", *flags)
        facts = json.loads((await run("privacy", "--json", *flags))[1])
        assert facts == await program.get("privacy") | {
            "connections": facts["connections"],
            "files": facts["files"],
        }
    assert code == 0
    assert f"the proxy at 127.0.0.1:{program.port}" in out
    assert "hash: a hash, by which equal texts are known  (flag --privacy-mode)" in out
    assert f"127.0.0.1:{program.port}" in facts["connections"]["listening"]
    assert facts["connections"]["clients"] >= 1
    assert facts["connections"]["others"] == []


async def test_what_is_wrong_in_the_configuration_is_one_line() -> None:
    rules = json.dumps([{"client": "a", "mode": "nothing"}])
    code, out, err = await run("privacy", OLLAMA_PROXY_PRIVACY_RULES=rules)
    assert (code, out) == (2, "")
    assert err.startswith("ollama-proxy: privacy.rules = ")
    assert "(environment OLLAMA_PROXY_PRIVACY_RULES)" in err
    assert "'nothing' is no mode" in err
    assert err.count("\n") == 1


def test_a_connection_that_is_nobodys_business_is_shown() -> None:
    listen, elsewhere = Address("127.0.0.1", 11435), Address("192.0.2.1", 443)
    own, ollama = Address("127.0.0.1", 50000), Address("127.0.0.1", 11434)
    sockets = [(listen, None), (listen, own), (own, ollama), (own, elsewhere)]
    facts = disclosed(load({}, {}), holdings=None, files=[], sockets=sockets)
    assert facts["connections"] == {
        "listening": ["127.0.0.1:11435"],
        "clients": 1,
        "upstream": {"address": "http://127.0.0.1:11434", "open": 1},
        "others": ["127.0.0.1:50000 to 192.0.2.1:443"],
    }
    assert "any other   127.0.0.1:50000 to 192.0.2.1:443" in told(facts, "127.0.0.1:11435")
