"""S8: an alert's command gets an argument list, no shell and a time limit, and its group is killed;
a webhook follows no redirection. S7 of alerts: no byte of a prompt leaves with one."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest

from ollama_proxy.alerts.config import Command
from ollama_proxy.alerts.message import NotifyError
from ollama_proxy.alerts.notifiers.by_command import ByCommand
from tests.alerts.receivers import hooks, settings, until
from tests.alerts.test_notifiers import MESSAGE
from tests.harness import Connection, between, head_bytes

GROUP = """
import os, subprocess, sys
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
open(sys.argv[1] + ".new", "w").write(f"{os.getpid()} {child.pid}")
os.rename(sys.argv[1] + ".new", sys.argv[1])
child.wait()
"""


def runs(pid: int) -> bool:
    """Whether the process is there, and not only its end that nobody asked for."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.skipif(sys.platform != "linux", reason="processes are looked up in /proc")
async def test_a_command_out_of_time_is_killed_with_all_that_it_began(tmp_path: Path) -> None:
    script, out = tmp_path / "alarm.py", tmp_path / "pids"
    script.write_text(GROUP)
    one = ByCommand(Command(run=[sys.executable, str(script), str(out)], seconds=2.0))
    with pytest.raises(NotifyError, match="did not end within 2 s and was killed"):
        await one.send(MESSAGE)
    pids = [int(pid) for pid in out.read_text().split()]
    await until(lambda: not any(map(runs, pids)))
    assert os.getpid() not in pids


async def test_no_prompt_answer_or_error_of_a_call_leaves_with_an_alert(tmp_path: Path) -> None:
    async def failing(connection: Connection) -> None:
        while True:
            await connection.read_message()
            body = json.dumps({"error": "PROMPT-BYTES in an error"}).encode()
            lines = [("Content-Length", str(len(body))), ("Content-Type", "application/json")]
            await connection.send(head_bytes("HTTP/1.1 500 Oh", lines) + body)

    rules = {"failed_calls": {"above": 0, "each": "model"}, "failed_share": {"calls": 1}}
    async with hooks() as phone:
        told = settings(rules, {"p": {"kind": "webhook", "url": phone.url}})
        async with between(failing, tmp_path, privacy_mode="full", **told) as proxy:
            client = await proxy.client()
            body = json.dumps({"model": "m\r\n\u202e<b>", "prompt": "PROMPT-BYTES"}).encode()
            lines = [("Host", "localhost"), ("Content-Length", str(len(body)))]
            await client.send(head_bytes("POST /api/generate HTTP/1.1", lines) + body)
            await client.read_message()
            messages = await phone.until(2)
            history = await proxy.get("alerts/history")
    sent = b"".join(phone.bodies).decode() + json.dumps(history)
    assert "PROMPT" not in sent
    (by_model,) = [one for one in messages if one["subject"]]
    assert by_model["text"].startswith(r"m\u000d\u000a\u202e<b>: Calls that failed within ")
    assert all(len(one[key].splitlines()) == 1 for one in messages for key in ("title", "text"))
