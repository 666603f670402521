"""A machine with systemd, as far as a takeover asks for it: a `systemctl` that really starts and
stops a stand-in Ollama (the simulator) as its unit and drop-ins say, and the proxy as the user's
service. Not here: tests.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import sys
import urllib.request
from pathlib import Path

from tests.processes import start

PATIENCE = 60.0
SYSTEMCTL = '''#!{python}
"""systemctl. A file in the folder that is named as a trouble makes it."""
import json, os, pathlib, re, signal, socket, subprocess, sys, time

here = pathlib.Path("{folder}")
units = here / "etc/systemd/system"
unit, loaded, pid = units / "ollama.service", here / "loaded", here / "pid"
words = sys.argv[1:]
with (here / "asked").open("a") as asked:
    print(*words, file=asked)

def trouble(name):
    return (here / name).exists()

def users():
    """The user's manager, which knows of the proxy."""
    unit, pid = here / ".config/systemd/user/ollama-proxy.service", here / "service.pid"
    what = next(word for word in words if word != "--user")
    if what == "show" and "--value" in words:
        print(alive(pid))
    elif what == "show":
        loaded = "ollama-proxy.service" in words and unit.exists()
        print("LoadState=" + ("loaded" if loaded else "not-found"))
        print("MainPID=" + alive(pid))
        print("UnitFileState=" + ("enabled" if trouble("enabled") else ""))
    elif what in ("enable", "disable"):
        (here / "enabled").touch() if what == "enable" else (here / "enabled").unlink()
    if what in ("start", "stop", "restart") and not unit.exists():
        sys.exit("Unit ollama-proxy.service not found.")
    if what in ("stop", "restart") or "--now" in words:
        end(pid)
    if what in ("start", "restart") and not int(alive(pid)):
        ready = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        ready.bind("\\0takeover-%d" % os.getpid())
        ready.settimeout(0.1)
        program = re.search("^ExecStart=(.+)$", unit.read_text(), re.M)[1]
        told = "SYSTEMD_EXEC_PID=$$ NOTIFY_SOCKET=@takeover-%d" % os.getpid()
        command = ["sh", "-c", "export %s; exec %s" % (told, program)]
        out = open(here / "service.log", "a")
        process = subprocess.Popen(command, stdout=out, stderr=out, start_new_session=True)
        pid.write_text(str(process.pid))
        while process.poll() is None:
            try:
                if ready.recv(99) == b"READY=1":
                    return
            except TimeoutError:
                pass
        sys.exit("Job for ollama-proxy.service failed.")

def environment():
    files = [unit, *sorted((units / "ollama.service.d").glob("*.conf"))]
    found = [w for f in files for w in re.findall('^Environment="?([^"\\n]*)', f.read_text(), re.M)]
    return list(dict(word.split("=", 1) for word in found).items())

def alive(pid):
    try:
        number = pid.read_text()
        return number if "Z" not in open("/proc/%s/stat" % number).read().split()[2] else "0"
    except OSError:
        return "0"

def end(pid):
    if number := int(alive(pid)):
        os.kill(number, signal.SIGTERM)
        while int(alive(pid)):
            time.sleep(0.02)

if "--user" in words:
    sys.exit(users())
if not unit.exists():
    print("LoadState=not-found" if "show" in words else "disabled")
    sys.exit("show" not in words)
if words[0] == "daemon-reload":
    loaded.write_text(json.dumps(environment()))
elif words[0] == "show":
    told = " ".join("=".join(pair) for pair in json.loads(loaded.read_text()))
    state = "active" if int(alive(pid)) else "failed"
    print("LoadState=loaded", "ActiveState=" + state, sep="\\n")
    for file in units.glob("*.env"):
        print("EnvironmentFiles=%s (ignore_errors=yes)" % file)
    print("MainPID=" + alive(pid), "FragmentPath=%s" % unit, "Environment=" + told, sep="\\n")
elif words[0] == "is-active":
    print("active" if int(alive(pid)) else "failed")
elif words[0] == "restart":
    if trouble("refuses"):
        sys.exit("Job for ollama.service failed: Access denied")
    if trouble("meddles"):
        subprocess.run(["sh", str(here / "meddles")])
    end(pid)
    while trouble("hangs"):
        (here / "hanging").touch()
        time.sleep(0.02)
    files = [file.read_text().strip().split("=", 1) for file in units.glob("*.env")]
    host = dict([*json.loads(loaded.read_text()), *files])["OLLAMA_HOST"]
    moved = host != "{at}"
    host = "{at}" if trouble("ignores") else host
    command = [sys.executable, "-m", "ollama_proxy.simulator", "--listen", host]
    command += ["--models", "other:1b"] if moved and trouble("forgets") else []
    if not (moved and trouble("dies")):
        out = open(here / "ollama.log", "a")
        process = subprocess.Popen(command, stdout=out, stderr=out, start_new_session=True)
        pid.write_text(str(process.pid))
'''
SUDO = """#!/bin/sh
while [ "$1" = -n ]; do shift; done
[ "$1" = -v ] || exec "$@"
"""


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port


def get(port: int, path: str) -> bytes:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=10) as answer:
        body: bytes = answer.read()
        return body


class Machine:
    """Ollama at port `at`, free ports for it (`to`) and for the proxy, and a data folder."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.data = folder, folder / "data"
        self.at, self.to, self.own = free_port(), free_port(), free_port()
        self.units = folder / "etc/systemd/system"
        self.drop_ins = self.units / "ollama.service.d"
        self.units.mkdir(parents=True)
        (folder / "bin").mkdir()
        at = f"127.0.0.1:{self.at}"
        script = SYSTEMCTL.format(python=sys.executable, folder=folder, at=at)
        self._tool("systemctl", script)
        self._tool("sudo", SUDO)
        unit = f'[Service]\nExecStart=ollama serve\nEnvironment="OLLAMA_HOST={at}"\n'
        (self.units / "ollama.service").write_text(unit)
        self.environ = {"PATH": f"{folder}/bin:/usr/bin:/bin", "HOME": str(folder)}

    def _tool(self, name: str, text: str) -> None:
        (self.folder / "bin" / name).write_text(text)
        (self.folder / "bin" / name).chmod(0o755)

    async def systemctl(self, *words: str) -> None:
        environ = {**os.environ, **self.environ}
        process = await asyncio.create_subprocess_exec("systemctl", *words, env=environ)
        assert await process.wait() == 0

    async def boot(self, port: int | None = None) -> None:
        await self.systemctl("daemon-reload")
        await self.systemctl("restart", "ollama.service")
        await self.answers(port or self.at)
        (self.folder / "asked").unlink()

    async def answers(self, port: int) -> None:
        async with asyncio.timeout(PATIENCE):
            while True:
                with contextlib.suppress(OSError):
                    await asyncio.to_thread(get, port, "/api/version")
                    return
                await asyncio.sleep(0.02)

    async def run(self, command: str, *arguments: str) -> tuple[int, str, str]:
        process = await self.started(command, *arguments)
        async with asyncio.timeout(PATIENCE):
            out, err = await process.communicate()
        assert process.returncode is not None
        return process.returncode, out.decode(), err.decode()

    async def started(self, command: str, *arguments: str) -> asyncio.subprocess.Process:
        own = ["--data-dir", str(self.data)]
        return await start([command, *arguments, *own], self.environ)

    async def proxy(self) -> None:
        upstream = f"http://127.0.0.1:{self.at}"
        own = [str(self.own), "--upstream", upstream, "--admin-listen", "off"]
        assert (await self.run("start", *own))[0] == 0

    async def takeover(self, *arguments: str) -> tuple[int, str, str]:
        return await self.run("takeover", "--yes", "--port", str(self.to), *arguments)

    @property
    def asked(self) -> list[str]:
        """What systemctl was asked to do."""
        notes = self.folder / "asked"
        lines = notes.read_text().splitlines() if notes.exists() else []
        return [line for line in lines if line.split()[0] in ("daemon-reload", "restart")]

    def system(self) -> dict[str, bytes]:
        """The system's files, and what a takeover may leave in the data folder."""
        found = [*self.units.rglob("*"), *self.data.glob("takeover*")]
        return {str(one): one.read_bytes() if one.is_file() else b"" for one in found}

    async def off(self) -> None:
        for trouble in ("hangs", "refuses"):
            (self.folder / trouble).unlink(missing_ok=True)
        await self.run("stop", "--now")
        with contextlib.suppress(OSError, ValueError):
            os.kill(int((self.folder / "pid").read_text()), signal.SIGKILL)
