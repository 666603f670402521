"""Settings that are read again: which change at once, which need a restart; and what is wrong."""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from ollama_proxy.config import load
from ollama_proxy.reload import NEEDS_RESTART, changes
from ollama_proxy.settings import SETTINGS
from tests.alerts.receivers import hooks, of
from tests.harness import PATIENCE, ScriptedUpstream
from tests.processes import Program, run, serving
from tests.test_handover import Ollama, call

OTHERS = {
    "listen": "127.0.0.1:1",
    "upstream": "http://127.0.0.1:2",
    "admin_listen": "off",
    "models_interval": "5",
    "admin.token": "x" * 20,
    "privacy.redact": '["x"]',
    "privacy.rules": '[{"model": "m", "mode": "none"}]',
    "clients.keys": json.dumps({"name": "0" * 64}),
    "insights.hidden": '["left"]',
    "alerts.rules": '{"ollama_down": {}}',
    "alerts.notifiers": '{"x": {"kind": "log"}}',
    "log.level": "debug",
    "log.format": "json",
    "privacy.mode": "none",
    "privacy.responses": "none",
}
SWITCHED = {"true": "false", "false": "true"}


def other(name: str, default: object) -> str:
    """A value that is not the default one."""
    if isinstance(default, bool):
        return str(not default).lower()
    if isinstance(default, int | float):
        return str(default + 3)
    return OTHERS.get(name, "/other" if isinstance(default, str) and "header" not in name else "")


@pytest.mark.parametrize("setting", SETTINGS, ids=[one.name for one in SETTINGS])
def test_each_setting_changes_now_or_is_said_to_need_a_restart(setting: object) -> None:
    one = next(known for known in SETTINGS if known is setting)
    value = "X-Other" if one.name.endswith("header") else other(one.name, one.default)
    old, new = load({}, {}), load({}, {one.environment: value})
    found = changes(old, new)
    later = one.name in NEEDS_RESTART
    assert (found.now, found.later) == (([], [one.name]) if later else ([one.name], []))
    assert found.config == (old if later else new)


class Proxy:
    """A proxy with a config file, without a terminal."""

    def __init__(self, program: Program, folder: Path) -> None:
        self.program, self.folder = program, folder
        self.file = folder / "proxy.toml"

    async def reload(self, text: str, *arguments: str) -> tuple[int, str, str]:
        self.file.write_text(text)
        return await run("config", "reload", "--data-dir", str(self.folder / "data"), *arguments)

    async def kept_prompt(self, prompt: str) -> str | None:
        """Of a call that is made now."""
        client = await self.program.client()
        await call(client, prompt)
        await client.close()
        kept: str | None = (await self.program.get("requests"))[0]["prompt"]
        return kept


@pytest.fixture
async def proxy(tmp_path: Path) -> AsyncIterator[Proxy]:
    (tmp_path / "proxy.toml").write_text("")
    flags = ("--config", str(tmp_path / "proxy.toml"))
    async with (
        ScriptedUpstream(Ollama()) as upstream,
        serving(tmp_path / "data", upstream.url, *flags) as program,
    ):
        yield Proxy(program, tmp_path)


async def test_what_can_change_does_and_the_rest_is_named(proxy: Proxy) -> None:
    assert await proxy.kept_prompt("one") == "one"
    text = 'admin_path = "/other"\n[privacy]\nmode = "none"\n'
    assert await proxy.reload(text) == (
        0,
        "privacy.mode: changed\nadmin_path: needs a restart (ollama-proxy restart)\n",
        "",
    )
    assert await proxy.kept_prompt("two") is None
    code, out, _ = await proxy.reload("", "--json")
    assert (code, json.loads(out)) == (0, {"now": ["privacy.mode"], "needs_restart": []})
    assert await proxy.kept_prompt("three") == "three"


async def test_where_all_needs_a_restart_it_is_not_said_that_nothing_changed(proxy: Proxy) -> None:
    for _ in range(2):
        code, out, _ = await proxy.reload('admin_path = "/other"\n')
        assert (code, out) == (0, "admin_path: needs a restart (ollama-proxy restart)\n")
    assert (await proxy.reload(""))[1] == "nothing changed\n"
    stderr, told = proxy.program.process.stderr, b""
    assert stderr is not None
    async with asyncio.timeout(PATIENCE):
        while b"settings read again: nothing changed\n" not in told:
            told += await stderr.readline()
    assert told.count(b"settings read again: admin_path needs a restart\n") == 2


async def test_alerts_go_on_in_their_state_and_new_ones_begin(proxy: Proxy) -> None:
    async with hooks() as phone:
        rules = "[alerts]\nevery = 0.1\n[alerts.rules.first]\nwhen = 'disk_full'\nabove = 0\n"
        told = f"[alerts.notifiers.phone]\nkind = 'webhook'\nurl = '{phone.url}/one'\n"
        assert (await proxy.reload(rules + told))[0] == 0
        assert (await phone.until(1))[0]["rule"] == "first"
        more = rules + "cooldown = 1\n[alerts.rules.second]\nwhen = 'disk_full'\nabove = 0\n"
        more += told.replace("/one", "/two")
        assert (await proxy.reload(more))[:2] == (
            0,
            "alerts.rules: changed\nalerts.notifiers: changed\n",
        )
        assert (await phone.until(2))[1]["rule"] == "second"  # and not the other one again
        listed = (await proxy.program.get("alerts"))["rules"]
        assert [rule["name"] for rule in listed if rule["state"] == "firing"] == ["first", "second"]
        await proxy.reload("")
        assert not any(rule["on"] for rule in (await proxy.program.get("alerts"))["rules"])


RULE = "[alerts.rules.full]\nwhen = 'disk_full'\nabove = 0\n"
OFTEN = "[alerts]\nevery = 0.1\n"


def notifier(url: str, name: str = "phone") -> str:
    return f"[alerts.notifiers.{name}]\nkind = 'webhook'\nurl = '{url}'\n"


async def full(proxy: Proxy) -> dict[str, Any]:
    """What fires, as REST tells it."""
    rules = (await proxy.program.get("alerts"))["rules"]
    found: dict[str, Any] = next(one for one in rules if one["name"] == "full")["subjects"][0]
    return found


@pytest.mark.parametrize("status", [0, 500])
async def test_a_mended_notifier_sends_what_the_broken_one_could_not(
    proxy: Proxy, status: int
) -> None:
    async with hooks(*[status] * 9) as broken, hooks() as mended:
        await proxy.reload(OFTEN + RULE + notifier(broken.url))
        await broken.until(1)
        assert (await full(proxy))["told"] is False
        await proxy.reload(OFTEN + RULE + notifier(mended.url))
        assert of(await mended.until(1), "rule", "new") == [("full", "firing")]
        assert len(mended.bodies) == 1
        async with asyncio.timeout(PATIENCE):
            while not (found := await full(proxy))["told"]:
                pass
        assert found["given_up"] == []


async def test_what_a_removed_notifier_could_not_send_is_told_by_another(proxy: Proxy) -> None:
    async with hooks(500, 500, 500) as broken, hooks() as mended:
        await proxy.reload(OFTEN + RULE + notifier(broken.url))
        await broken.until(1)
        await proxy.reload(OFTEN + RULE + notifier(mended.url, "desk"))
        assert of(await mended.until(1), "rule", "new") == [("full", "firing")]


async def test_who_gave_up_is_said_and_is_not_called_told(proxy: Proxy) -> None:
    async with hooks(404) as wrong:
        await proxy.reload(OFTEN + RULE + notifier(wrong.url))
        await wrong.until(1)
        async with asyncio.timeout(PATIENCE):
            while not (found := await full(proxy))["given_up"]:
                pass
        assert (found["told"], found["given_up"]) == (False, ["phone"])
        async with hooks() as mended:
            await proxy.reload(OFTEN + RULE + notifier(mended.url))
            assert of(await mended.until(1), "rule", "new") == [("full", "firing")]


@pytest.mark.parametrize("left", ["", RULE + "on = false\n"])
async def test_what_fires_is_over_when_its_rule_is_taken_away(proxy: Proxy, left: str) -> None:
    async with hooks() as phone:
        await proxy.reload(OFTEN + RULE + notifier(phone.url))
        await phone.until(1)
        await proxy.reload(OFTEN + left + notifier(phone.url))
        over = (await phone.until(2))[1]
        assert (over["new"], over["detail"]) == ("ok", "the rule was taken away")
        assert over["text"].startswith("The rule was taken away or switched off")
        async with asyncio.timeout(PATIENCE):
            while len(flips := await proxy.program.get("alerts/history")) < 2:
                pass
    assert of(flips, "new") == [("ok",), ("firing",)]


async def test_the_log_names_what_changed_of_alerts(proxy: Proxy) -> None:
    await proxy.reload(RULE + notifier("http://127.0.0.1:9/a"))
    await proxy.reload(RULE + "cooldown = 1\n" + notifier("http://127.0.0.1:9/s3cret", "desk"))
    stderr = proxy.program.process.stderr
    assert stderr is not None
    async with asyncio.timeout(PATIENCE):
        while b"desk" not in (line := await stderr.readline()):
            pass
    assert b"alerts.rules (changed: full), alerts.notifiers (added: desk; removed: phone)" in line
    assert b"s3cret" not in line


async def test_a_wrong_file_changes_nothing_and_is_said(proxy: Proxy) -> None:
    code, out, err = await proxy.reload('[privacy]\nmode = "none"\n[timeouts]\nidle = "soon"\n')
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert "timeouts.idle" in err and "the settings stay as they were" in err
    assert await proxy.kept_prompt("one") == "one"
    stderr = proxy.program.process.stderr
    assert stderr is not None
    async with asyncio.timeout(PATIENCE):
        while b"the settings stay as they were: timeouts.idle" not in await stderr.readline():
            pass


async def test_sighup_does_the_same_where_there_is_no_terminal(proxy: Proxy) -> None:
    later = 'admin_path = "/other"\n[clients]\nprocesses = false\n'
    proxy.file.write_text(f'{later}[privacy]\nmode = "none"\n')
    proxy.program.process.send_signal(signal.SIGHUP)
    stderr = proxy.program.process.stderr
    assert stderr is not None
    told = (
        b"settings read again: privacy.mode changed; admin_path, clients.processes need a restart"
    )
    async with asyncio.timeout(PATIENCE):
        while told not in await stderr.readline():
            pass
    assert await proxy.kept_prompt("one") is None


async def test_where_no_proxy_runs_that_is_said(tmp_path: Path) -> None:
    code, out, err = await run("config", "reload", "--data-dir", str(tmp_path))
    assert (code, out) == (1, "") and "no proxy runs in" in err and err.count("\n") == 1
