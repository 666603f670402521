"""`takeover` as a user meets it: real processes, and a systemctl that runs a stand-in Ollama."""

from __future__ import annotations

import asyncio
import json
import os
import resource
import shlex
import signal
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from ollama_proxy.takeover.journal import Story, held, read
from ollama_proxy.takeover.plan import Plan
from tests.processes import PROGRAM
from tests.systemd import Machine, get

DROP_IN = "zz-ollama-proxy.conf"


@pytest.fixture
async def machine(tmp_path: Path) -> AsyncIterator[Machine]:
    there = Machine(tmp_path)
    await there.boot()
    yield there
    await there.off()


def running(machine: Machine) -> dict[str, Any]:
    told: dict[str, Any] = json.loads((machine.data / "running.json").read_text())
    return told


def names(port: int) -> list[str]:
    return [model["name"] for model in json.loads(get(port, "/api/tags"))["models"]]


async def test_it_moves_both_says_so_again_and_puts_all_back(machine: Machine) -> None:
    await machine.proxy()
    before, proxy = machine.system(), running(machine)
    models = names(machine.at)
    code, out, err = await machine.takeover()
    assert code == 0 and not err, err
    assert f"done: what calls http://127.0.0.1:{machine.at} goes through the proxy" in out
    assert "and the proxy records calls" in out
    host = f"OLLAMA_HOST=127.0.0.1:{machine.to}"
    assert f'Environment="{host}"' in (machine.drop_ins / DROP_IN).read_text()
    assert names(machine.at) == names(machine.to) == models
    calls = json.loads(get(machine.at, "/admin/api/requests"))
    assert calls[0]["path"] == "/api/tags"

    code, out, _ = await machine.takeover()
    assert code == 0 and out.startswith("done already: the proxy listens at")
    for command in ("stop", "start"):  # what it set holds for whoever starts the proxy anew
        code, _, err = await machine.run(command)
        assert code == 0, err
    assert names(machine.at) == models
    assert json.loads(get(machine.at, "/admin/api/status"))["upstream_up"]

    code, out, err = await machine.run("takeover", "--undo", "--yes")
    assert code == 0 and not err, err
    assert "undone: all is as it was before" in out
    assert machine.system() == before and names(machine.at) == models
    now = running(machine)
    assert (now["url"], now["flags"]) == (proxy["url"], proxy["flags"])
    code, out, _ = await machine.run("takeover", "--undo")
    assert code == 0 and out.startswith("nothing to undo")


async def test_a_service_that_was_installed_since_is_undone_as_one(machine: Machine) -> None:
    """As the takeover itself advises, for the proxy to start by itself."""
    await machine.proxy()
    before = machine.system()
    code, out, err = await machine.takeover()
    assert code == 0 and "ollama-proxy stop; ollama-proxy service install" in out, err
    assert (await machine.run("stop"))[0] == 0
    own = ["--listen", f"127.0.0.1:{machine.own}", "--upstream", f"http://127.0.0.1:{machine.at}"]
    code, _, err = await machine.run("service", "install", "--admin-listen", "off", *own)
    assert code == 0, err
    code, out, err = await machine.run("takeover", "--undo", "--dry-run")
    assert "systemctl --user stop ollama-proxy.service\n" in out and "ollama-proxy stop" not in out
    code, out, err = await machine.run("takeover", "--undo", "--yes")
    assert code == 0 and not err, err
    assert machine.system() == before and names(machine.own) == names(machine.at)
    now = running(machine)
    assert now["service"] and now["pid"] == int((machine.folder / "service.pid").read_text())


async def test_a_flag_of_another_version_does_not_break_the_undoing(machine: Machine) -> None:
    await machine.proxy()
    told = running(machine)
    told["flags"]["gone.setting"] = "x"
    (machine.data / "running.json").write_text(json.dumps(told))
    code, _, err = await machine.takeover()
    assert code == 0, err
    code, _, err = await machine.run("takeover", "--undo", "--yes")
    assert code == 0 and not err, err
    assert names(machine.own)


async def test_with_no_proxy_one_is_started_and_undone_it_is_stopped(machine: Machine) -> None:
    upstream, before = f"http://127.0.0.1:{machine.at}", machine.system()
    code, out, err = await machine.takeover("--upstream", upstream, "--call", "llama3.2:latest")
    assert code == 0 and not err, err
    assert "answered through the proxy in" in out
    assert running(machine)["url"] == upstream
    code, _, err = await machine.run("takeover", "--undo", "--yes")
    assert code == 0 and not err, err
    assert (await machine.run("status"))[0] == 3
    assert machine.system() == before and get(machine.at, "/api/version")


async def test_a_dry_run_shows_each_step_and_changes_nothing(machine: Machine) -> None:
    upstream = ["--upstream", f"http://127.0.0.1:{machine.at}"]
    before = machine.system()
    code, out, _ = await machine.takeover("--dry-run", *upstream)
    assert code == 0
    for line in (
        f"tee {machine.drop_ins / DROP_IN} with",
        f'Environment="OLLAMA_HOST=127.0.0.1:{machine.to}"',
        "systemctl daemon-reload",
        "systemctl restart ollama.service",
        f'listen = "127.0.0.1:{machine.at}"',
    ):
        assert line in out
    code, _, err = await machine.run("takeover", "--port", str(machine.to), *upstream)
    assert code == 1 and "say --yes to do it unasked" in err and err.count("\n") == 1
    assert machine.system() == before and machine.asked == [] and not machine.data.exists()


async def test_what_stands_in_its_way_is_said_and_nothing_is_changed(machine: Machine) -> None:
    before = machine.system()

    async def refused(*arguments: str) -> str:
        code, _, err = await machine.takeover(*arguments)
        assert code == 1 and err.count("\n") == 1 and "nothing was changed" in err
        assert machine.system() == before and machine.asked == []
        return err

    upstream = ["--upstream", f"http://127.0.0.1:{machine.at}"]
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", machine.to))
        taken.listen()
        assert f"port {machine.to} is in use" in await refused(*upstream)
    with socket.socket() as other:
        other.bind(("127.0.0.1", machine.own))
        other.listen()
        err = await refused("--upstream", f"http://127.0.0.1:{machine.own}")
        assert "is not Ollama (process" in err and "end it" in err
    assert "nobody answers at" in await refused("--upstream", f"http://127.0.0.1:{machine.own}")
    config = machine.folder / "p.toml"
    config.write_text('listen = "127.0.0.1:11500"\n')
    assert f"take it out of {config}" in await refused(*upstream, "--config", str(config))


async def test_a_proxy_of_another_unit_is_no_proxy_in_the_background(machine: Machine) -> None:
    upstream = f"http://127.0.0.1:{machine.at}"
    own = ["--data-dir", str(machine.data), "--listen", f"127.0.0.1:{machine.own}"]
    own += ["--upstream", upstream, "--admin-listen", "off"]
    said = shlex.join([*PROGRAM, "serve", *own])
    proxy = await asyncio.create_subprocess_exec(
        *("sh", "-c", f"export SYSTEMD_EXEC_PID=$$; exec {said}"), stdout=asyncio.subprocess.DEVNULL
    )
    try:
        await machine.answers(machine.own)
        code, out, err = await machine.takeover()
        assert code == 1 and err.count("\n") == 1 and "nothing was changed" in err
        assert f"systemctl status {proxy.pid} names it" in err and not out
        assert machine.asked == [] and not (machine.data / "takeover.toml").exists()
    finally:
        proxy.terminate()
        await proxy.wait()


@pytest.mark.parametrize("unit", [True, False])
async def test_an_ollama_that_serves_other_machines_is_asked_about(
    machine: Machine, unit: bool
) -> None:
    """Wherever that was set: the kernel tells where it listens."""
    if not unit:
        (machine.units / "ollama.service").unlink()
    upstream = ["--upstream", f"http://127.0.0.1:{machine.at}"]
    with socket.socket(socket.AF_INET6) as everywhere:
        everywhere.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        everywhere.bind(("::", machine.at))
        everywhere.listen()
        code, out, err = await machine.takeover(*upstream)
        assert code == 1 and f"--listen 0.0.0.0:{machine.at} has the proxy do so" in err and not out
        said = ["--listen", f"127.0.0.1:{machine.at}", "--dry-run"]
        code, out, _ = await machine.takeover(*upstream, *said)
        assert code == (0 if unit else 1)
        assert unit or out.endswith(f" --listen 127.0.0.1:{machine.at}\n")
    assert machine.asked == []


async def test_a_file_that_says_where_ollama_listens_is_named(machine: Machine) -> None:
    """It wins over the unit and over each drop-in."""
    file = machine.units / "ollama.env"
    file.write_text(f"OLLAMA_HOST=127.0.0.1:{machine.own}\n")
    await machine.boot(machine.own)
    code, out, err = await machine.takeover("--upstream", f"http://127.0.0.1:{machine.own}")
    assert code == 1 and not out
    assert f"{file} sets OLLAMA_HOST=127.0.0.1:{machine.own}, which wins over a drop-in" in err


async def test_a_journal_that_cannot_be_ended_is_not_nothing(machine: Machine) -> None:
    journal = machine.data / "takeover.journal"
    (machine.folder / "dies").touch()
    (machine.folder / "meddles").write_text(f"rm -f {journal}; mkdir -p {journal}")
    code, _, err = await machine.takeover("--upstream", f"http://127.0.0.1:{machine.at}")
    assert code == 1 and "Ollama's unit is failed" in err and "nothing was changed" not in err
    assert f"not put back: {journal} cannot be written: Is a directory" in err
    assert get(machine.at, "/api/version")


def test_what_cannot_be_written_did_not_happen(tmp_path: Path) -> None:
    plan = Plan(steps=[], undo=[], address="", ollama="", before=None, sudo=False, moves=False)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    with held(tmp_path) as journal:
        journal.begin(plan)
        size = (tmp_path / "takeover.journal").stat().st_size
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))  # as on a full disk
        try:
            with pytest.raises(OSError, match="File too large"):
                journal.step("ollama")
            with pytest.raises(OSError, match="File too large"):
                journal.complete()
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        assert journal.story == read(tmp_path) == Story(plan)


@pytest.mark.parametrize(
    ("trouble", "why"),
    [
        ("refuses", "Access denied"),
        ("ignores", "still, not at"),
        ("dies", "Ollama's unit is failed"),
        ("forgets", "are not those of before: "),
    ],
)
async def test_what_fails_midway_is_put_back(machine: Machine, trouble: str, why: str) -> None:
    await machine.proxy()
    before, proxy = machine.system(), running(machine)
    (machine.folder / trouble).touch()
    if trouble == "refuses":  # putting back restarts Ollama, too: it is repeated once that works
        code, _, err = await machine.takeover()
        assert code == 1 and why in err and "takeover --undo tries again" in err
        (machine.folder / trouble).unlink()
        assert (await machine.run("takeover", "--undo", "--yes"))[0] == 0
    else:
        code, _, err = await machine.takeover()
        assert code == 1 and why in err and err.endswith(": all is as it was before\n")
    assert err.count("\n") == 1
    assert machine.system() == before and get(machine.at, "/api/version")
    now = running(machine)
    assert (now["url"], now["flags"]) == (proxy["url"], proxy["flags"])


async def test_a_drop_in_that_wins_is_noticed_before_ollama_is_restarted(machine: Machine) -> None:
    machine.drop_ins.mkdir()
    theirs = f'[Service]\nEnvironment="OLLAMA_HOST=127.0.0.1:{machine.at}"\n'
    (machine.drop_ins / "zzz.conf").write_text(theirs)
    before = machine.system()
    code, _, err = await machine.takeover("--upstream", f"http://127.0.0.1:{machine.at}")
    assert code == 1 and "another drop-in of Ollama's unit wins" in err
    assert machine.system() == before and machine.asked == ["daemon-reload"] * 2


async def test_killed_midway_it_is_undone_by_the_next(machine: Machine) -> None:
    upstream = ["--upstream", f"http://127.0.0.1:{machine.at}"]
    before = machine.system()
    process = await hanging(machine, upstream)
    code, _, err = await machine.run("takeover", "--undo", "--yes")
    assert code == 1 and "a takeover is under way" in err
    process.kill()
    await process.communicate()
    (machine.folder / "hangs").unlink()
    await machine.answers(machine.to)
    code, _, err = await machine.takeover(*upstream)
    assert code == 1 and "ollama-proxy takeover --undo puts all back" in err
    code, _, err = await machine.run("takeover", "--undo", "--yes")
    assert code == 0 and not err, err
    assert machine.system() == before
    assert get(machine.at, "/api/version")


async def test_a_journal_that_is_cut_off_or_not_understood(machine: Machine) -> None:
    """A crash while its first line was written, before anything was done; another version's."""
    machine.data.mkdir()
    journal = machine.data / "takeover.journal"
    journal.write_text('{"steps": [')
    code, out, _ = await machine.run("takeover", "--undo")
    assert code == 0 and out.startswith("nothing to undo")
    code, _, err = await machine.takeover("--upstream", f"http://127.0.0.1:{machine.at}")
    assert code == 0, err
    assert (await machine.run("takeover", "--undo", "--yes"))[0] == 0 and not journal.exists()
    journal.write_text('{"of": "another version"}\n')
    code, _, err = await machine.takeover()
    assert code == 1 and err.endswith("undo it by the version that took over\n")
    journal.unlink()


async def test_what_the_takeover_left_may_be_damaged_and_is_undone_all_the_same(
    machine: Machine,
) -> None:
    before = machine.system()
    code, _, err = await machine.takeover("--upstream", f"http://127.0.0.1:{machine.at}")
    assert code == 0, err
    (machine.data / "takeover.toml").write_bytes(b"\xff")
    assert (await machine.run("takeover", "--undo", "--yes"))[0] == 0
    assert machine.system() == before


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file to another user")
@pytest.mark.parametrize("name", ["takeover.journal", "takeover.toml"])
async def test_nothing_is_done_that_another_user_has_written(machine: Machine, name: str) -> None:
    machine.data.mkdir()
    run = {"type": "run", "command": ["touch", str(machine.data / "done")]}
    plan: dict[str, Any] = {"steps": [], "undo": [{"of": "a", "action": run}], "address": "a"}
    plan |= {"ollama": "b", "before": None, "keeper": "nobody", "sudo": False, "moves": False}
    (machine.data / name).write_text(f'{json.dumps(plan)}\n"a"\n' if "journal" in name else "")
    os.chown(machine.data / name, 65534, 65534)
    for command in (["takeover", "--undo", "--yes"], ["takeover", "--yes"]):
        code, _, err = await machine.run(*command)
        assert code in (0, 1, 2) and not (machine.data / "done").exists()
        assert "is another user's" in err or (name == "takeover.toml" and "--undo" in command)
    os.chown(machine.data / name, 0, 0)
    if name == "takeover.journal":  # the same in one's own hand is done
        await machine.run("takeover", "--undo", "--yes")
        assert (machine.data / "done").exists()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
async def test_ended_midway_it_puts_all_back_by_itself(machine: Machine, number: int) -> None:
    before = machine.system()
    process = await hanging(machine, ["--upstream", f"http://127.0.0.1:{machine.at}"])
    process.send_signal(number)
    (machine.folder / "hangs").unlink()
    async with asyncio.timeout(60):
        _, err = await process.communicate()
    assert process.returncode == 1
    assert err.decode() == "ollama-proxy: it was interrupted: all is as it was before\n"
    assert machine.system() == before and get(machine.at, "/api/version")


async def hanging(machine: Machine, upstream: list[str]) -> asyncio.subprocess.Process:
    """A takeover in the middle of Ollama's restart."""
    (machine.folder / "hangs").touch()
    process = await machine.started("takeover", "--yes", "--port", str(machine.to), *upstream)
    async with asyncio.timeout(60):
        while not (machine.folder / "hanging").exists():
            await asyncio.sleep(0.02)
    return process


async def test_without_a_unit_it_says_what_to_do_and_goes_on_once_that_is_done(
    machine: Machine,
) -> None:
    upstream = ["--upstream", f"http://127.0.0.1:{machine.at}"]
    unit = machine.units / "ollama.service"
    text = unit.read_text()
    unit.unlink()
    code, out, err = await machine.takeover(*upstream)
    pid = (machine.folder / "pid").read_text()
    assert code == 1 and "is not run here as systemd's ollama.service" in err
    assert f"kill {pid}\n" in out and f"OLLAMA_HOST=127.0.0.1:{machine.to} " in out
    again = next(line for line in out.splitlines() if "ollama-proxy takeover" in line)

    unit.write_text(text.replace(f":{machine.at}", f":{machine.to}"))
    await machine.systemctl("daemon-reload")
    await machine.systemctl("restart", "ollama.service")
    await machine.answers(machine.to)
    (machine.folder / "asked").unlink()
    code, out, err = await machine.run(*again.split()[1:], "--yes")
    assert code == 0 and not err, err
    assert machine.asked == []
    assert get(machine.at, "/admin/healthz")
    code, out, _ = await machine.run("takeover", "--undo", "--yes")
    assert code == 0 and f"Ollama stays at http://127.0.0.1:{machine.to}" in out
    assert machine.asked == []
