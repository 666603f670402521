"""`ollama-proxy alerts` and `alerts test`, beside a proxy that runs and where none does."""

from __future__ import annotations

import json
from pathlib import Path

from tests.alerts.receivers import hooks
from tests.processes import run, serving

NOBODY = "http://127.0.0.1:9"


def settings(url: str) -> dict[str, str]:
    rules = {"ollama_down": {"for": 0}, "silent": {"when": "call_silent", "client": "x.py"}}
    notifiers = {"phone": {"kind": "webhook", "url": f"{url}/hunter2", "secret": "hunter2"}}
    return {
        "OLLAMA_PROXY_ALERTS_EVERY": "0.1",
        "OLLAMA_PROXY_ALERTS_RULES": json.dumps(rules),
        "OLLAMA_PROXY_ALERTS_NOTIFIERS": json.dumps(notifiers),
    }


async def test_rules_and_notifiers_are_listed_and_tested(tmp_path: Path) -> None:
    folder = ("--data-dir", str(tmp_path))
    async with hooks() as phone, serving(tmp_path, NOBODY, cwd=None, **settings(phone.url)):
        (message,) = await phone.until(1)
        code, out, err = await run("alerts", *folder)
        assert (code, err) == (0, "")
        lines = out.splitlines()
        assert lines[0] == f"ollama_down  firing since {message['at']}"
        assert lines[1].strip() == "Ollama does not answer: Connection refused."
        assert lines[2] == "silent       ok"
        assert lines[3].startswith("off: failed_calls, ")
        assert lines[4:] == ["notifier phone (webhook): 1 sent"]
        assert "hunter2" not in out
        told = json.loads((await run("alerts", "--json", *folder))[1])
        assert told["rules"][0]["state"] == "firing"
        assert await run("alerts", "test", "phone", *folder) == (0, "phone: sent\n", "")
        assert (await phone.until(2))[1]["test"] is True
        phone.statuses += [404]
        code, out, err = await run("alerts", "test", "silent", *folder)
        cause = "answers 404: compare its url and keys with what the service gave you"
        assert (code, out, err) == (1, f"phone: {cause}\n", "")
        code, out, err = await run("alerts", "test", "nobody", *folder)
        assert (code, out, err.count("\n")) == (1, "", 1)
        assert "(ollama-proxy alerts lists them) is called nobody" in err
        # A mistake in what this shell would start is none in what runs.
        code, _, err = await run("alerts", *folder, OLLAMA_PROXY_ALERTS_RULES='{"x": {}}')
        assert (code, err) == (0, "")


async def test_where_no_proxy_runs_that_is_said(tmp_path: Path) -> None:
    for command in (("alerts",), ("alerts", "test")):
        code, out, err = await run(*command, "--data-dir", str(tmp_path))
        assert (code, out, err.count("\n")) == (1, "", 1)
        assert "ollama-proxy start runs one" in err


async def test_a_notifiers_settings_are_not_said_on_a_command_line() -> None:
    code, out, err = await run("serve", "--alerts-notifiers", '{"x": {"url": "hunter2"}}')
    assert (code, out) == (2, "")
    assert "other users see a command line" in err and "hunter2" not in err
