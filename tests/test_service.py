"""`ollama-proxy service`, what systemd is told by `serve`, and `completion`: real processes.

Of systemd there is only a `systemctl` that notes what it was asked: no test may touch the user's.
"""

from __future__ import annotations

import asyncio
import os
import plistlib
import re
import shutil
import signal
import socket
import subprocess
import sys
import uuid
from pathlib import Path
from typing import Any

import pytest

from ollama_proxy.service import for_launchd, for_systemd, quoted
from tests.harness import PATIENCE
from tests.processes import run, serving, start

NOWHERE = "http://127.0.0.1:9"
SYSTEMCTL = """#!/bin/sh
echo "$@" >> "{notes}"
case "$*" in
  *show-environment*) exit {answers} ;;
  *MainPID*) echo 0 ;;
  *restart*) test ! -e "{notes}.fail" || {{ echo "Job failed. See logs." >&2; exit 1; }} ;;
esac
"""


class Home:
    """A user's home, with a systemctl of its own; `answers` 0: there is a manager."""

    def __init__(self, folder: Path, answers: int = 0) -> None:
        self.folder, self.notes = folder, folder / "notes"
        self.unit = folder / "config/systemd/user/ollama-proxy.service"
        tool = folder / "bin/systemctl"
        tool.parent.mkdir()
        tool.write_text(SYSTEMCTL.format(notes=self.notes, answers=answers))
        tool.chmod(0o755)
        self.environ = {
            "PATH": f"{tool.parent}:/usr/bin:/bin",
            "HOME": str(folder),
            "XDG_CONFIG_HOME": str(folder / "config"),
            "XDG_DATA_HOME": str(folder / "data"),
        }

    async def service(self, *arguments: str, **environ: str) -> tuple[int, str, str]:
        return await run("service", *arguments, **self.environ | environ)

    @property
    def asked(self) -> list[str]:
        """What systemctl was asked to do, not what it was asked about."""
        lines = self.notes.read_text().splitlines() if self.notes.exists() else []
        return [line for line in lines if "show" not in line]

    @property
    def program(self) -> str:
        found = re.search("^ExecStart=(.+)$", self.unit.read_text(), re.MULTILINE)
        assert found
        return found[1]


async def test_it_is_installed_and_uninstalled(tmp_path: Path) -> None:
    home = Home(tmp_path)
    code, out, err = await home.service("install", "--listen", "127.0.0.1:11500")
    assert (code, err) == (0, "")
    assert f"installed {home.unit}" in out and "journalctl --user -u ollama-proxy" in out
    assert home.asked == [
        "--user daemon-reload",
        "--user enable ollama-proxy.service",
        "--user restart ollama-proxy.service",
    ]
    data = tmp_path / "data/ollama_proxy"
    assert home.program.endswith(
        f'"-m" "ollama_proxy" "serve" "--listen" "127.0.0.1:11500" "--data-dir" "{data}"'
    )
    home.notes.unlink()
    code, out, _ = await home.service("uninstall")
    assert code == 0 and not home.unit.exists() and data.exists()
    assert home.asked == [
        "--user disable --now ollama-proxy.service",
        "--user daemon-reload",
    ]
    code, out, _ = await home.service("uninstall")
    assert code == 0 and "not installed" in out


async def test_a_dry_run_shows_it_and_does_nothing(tmp_path: Path) -> None:
    home = Home(tmp_path)
    code, out, _ = await home.service("install", "--dry-run")
    assert code == 0 and "Type=notify" in out and "systemctl --user enable" in out
    assert not home.unit.exists() and home.asked == []
    await home.service("install")
    there = home.asked
    code, out, _ = await home.service("uninstall", "--dry-run")
    assert code == 0 and f"rm {home.unit}" in out
    assert home.unit.exists() and home.asked == there


async def test_paths_hold_from_everywhere_and_the_environment_is_not_taken_over(
    tmp_path: Path,
) -> None:
    home = Home(tmp_path)
    (tmp_path / "p.toml").write_text("models_interval = 3\n")
    environ = {"OLLAMA_PROXY_CONFIG": "p.toml", "OLLAMA_PROXY_LISTEN": "127.0.0.1:1"}
    arguments = ["service", "install", "--data-dir", "here"]
    process = await start(arguments, home.environ | environ, tmp_path)
    _, err = await process.communicate()
    assert process.returncode == 0
    assert err.decode().startswith("warning: OLLAMA_PROXY_LISTEN is not taken over")
    assert f'"--data-dir" "{tmp_path}/here"' in home.program
    assert f'"--config" "{tmp_path}/p.toml"' in home.program


async def test_what_keeps_it_from_being_installed_is_said(tmp_path: Path) -> None:
    home = Home(tmp_path)
    code, _, err = await home.service("install", "--listen", "nowhere")
    assert code == 2 and "listen" in err and not home.unit.exists()
    data = tmp_path / "elsewhere"
    async with serving(data, NOWHERE) as program:
        code, _, err = await home.service("install", "--data-dir", str(data))
    assert code == 1 and f"process {program.process.pid} runs in {data} already" in err
    assert "ollama-proxy stop" in err and not home.unit.exists()
    (tmp_path / "notes.fail").touch()
    code, _, err = await home.service("install")
    assert code == 1 and "Job failed. See logs." in err and "journalctl" in err


async def test_without_a_manager_it_says_what_can_be_done(tmp_path: Path) -> None:
    home = Home(tmp_path, answers=1)
    code, out, err = await home.service("install", "--listen", "127.0.0.1:11500")
    assert code == 1 and "no systemd user manager answers here" in err
    assert f"@reboot {sys.executable} -m ollama_proxy start --listen 127.0.0.1:11500" in out
    assert not home.unit.exists()


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is what knows units")
def test_systemd_understands_the_unit(tmp_path: Path) -> None:
    program = [sys.executable, "-m", "ollama_proxy", "serve", "--data-dir", "/a b/50%$HOME\"'\\"]
    unit = for_systemd(program, 30.0, tmp_path)
    unit.file.write_text(unit.text)
    verify = ["systemd-analyze", "verify", "--user", str(unit.file)]
    environ = {**os.environ, "XDG_RUNTIME_DIR": str(tmp_path)}
    done = subprocess.run(verify, capture_output=True, text=True, env=environ, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "TimeoutStopSec=60\n" in unit.text


def test_words_of_a_command_line_are_kept_whole() -> None:
    assert quoted("plain") == '"plain"'
    assert quoted('a "b" \\ 50% $HOME') == r'"a \"b\" \\ 50%% $$HOME"'
    assert quoted("a\nb") == r'"a\nb"'


def test_the_agent_of_macos(tmp_path: Path) -> None:
    program = ["/usr/bin/python3", "-m", "ollama_proxy", "serve", "--data-dir", "/a <b> & c"]
    agent = for_launchd(program, 501, tmp_path, tmp_path / "start.out")
    told = plistlib.loads(agent.text.encode())
    assert told["Label"] == "ollama-proxy" and told["ProgramArguments"] == program
    assert told["RunAtLoad"] and told["KeepAlive"] == {"SuccessfulExit": False}
    assert agent.file.name == "ollama-proxy.plist"
    assert agent.install == [["launchctl", "bootstrap", "gui/501", str(agent.file)]]
    assert agent.uninstall == [["launchctl", "bootout", "gui/501/ollama-proxy"]]


async def said(listener: socket.socket) -> str:
    async with asyncio.timeout(PATIENCE):
        return (await asyncio.get_running_loop().sock_recv(listener, 1000)).decode()


@pytest.mark.parametrize("abstract", [False, True])
async def test_systemd_is_told_ready_alive_and_stopping(tmp_path: Path, abstract: bool) -> None:
    name = f"@{uuid.uuid4()}" if abstract else str(tmp_path / "s")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.setblocking(False)
        listener.bind(name.replace("@", "\0") if abstract else name)
        environ: dict[str, Any] = {"NOTIFY_SOCKET": name, "WATCHDOG_USEC": "100000"}
        async with serving(tmp_path / "data", NOWHERE, **environ) as program:
            assert await said(listener) == "READY=1"
            assert (await program.get("status"))["status"] == "down"
            for _ in range(3):
                assert await said(listener) == "WATCHDOG=1"
            program.process.send_signal(signal.SIGTERM)
            while (line := await said(listener)) == "WATCHDOG=1":
                pass
            assert line == "STOPPING=1"
            async with asyncio.timeout(PATIENCE):
                assert await program.process.wait() == 0


@pytest.mark.parametrize(
    "environ",
    [{"NOTIFY_SOCKET": "/does/not/exist"}, {"WATCHDOG_USEC": "x"}, {"WATCHDOG_PID": "1"}],
)
async def test_nothing_of_that_stands_in_the_way(tmp_path: Path, environ: dict[str, Any]) -> None:
    known = {"NOTIFY_SOCKET": str(tmp_path / "s"), "WATCHDOG_USEC": "1000"}
    async with serving(tmp_path / "data", NOWHERE, **known | environ) as program:
        assert (await program.get("status"))["status"] == "down"
        assert await program.stop() == 0


def bash() -> bool:
    """Whether there is one that click can complete in, 4.4 or newer."""
    if shutil.which("bash") is None:
        return False
    asked = ["bash", "-c", "echo $((BASH_VERSINFO[0] * 100 + BASH_VERSINFO[1]))"]
    return int(subprocess.check_output(asked)) >= 404


@pytest.mark.skipif(not bash(), reason="needs bash 4.4 or newer")
@pytest.mark.parametrize(
    ("typed", "completed"), [("sta", "start status"), ("status --js", "--json")]
)
async def test_bash_completes_commands_and_options(
    tmp_path: Path, typed: str, completed: str
) -> None:
    tool = tmp_path / "ollama-proxy"
    tool.write_text(f'#!/bin/sh\nexec {sys.executable} -m ollama_proxy "$@"\n')
    tool.chmod(0o755)
    words = typed.split()
    script = f"""
        eval "$(ollama-proxy completion bash)"
        COMP_WORDS=(ollama-proxy {typed}); COMP_CWORD={len(words)}
        _ollama_proxy_completion ollama-proxy
        echo "${{COMPREPLY[@]}}"
    """
    shell = await asyncio.create_subprocess_exec(
        *("bash", "--norc", "-c", script),
        stdout=asyncio.subprocess.PIPE,
        env={**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"},
    )
    out, _ = await shell.communicate()
    assert out.decode().strip() == completed


@pytest.mark.parametrize(
    ("shell", "part"), [("zsh", "#compdef ollama-proxy"), ("fish", "--command ollama-proxy")]
)
async def test_the_other_shells_get_theirs(shell: str, part: str) -> None:
    code, out, err = await run("completion", shell)
    assert (code, err) == (0, "") and part in out


async def test_completing_a_command_imports_no_servers_libraries() -> None:
    environ = {"_OLLAMA_PROXY_COMPLETE": "bash_complete", "COMP_WORDS": "ollama-proxy s"}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-X", "importtime", "-m", "ollama_proxy"),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, **environ, "COMP_CWORD": "1"},
    )
    out, err = await process.communicate()
    assert "plain,serve" in out.decode().splitlines()
    modules = {line.rpartition("|")[2].strip() for line in err.decode().splitlines()}
    assert not modules & {"aiohttp", "rich"}
