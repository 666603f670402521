"""What a takeover would do for what is found, and what it refuses, without a machine for each."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from ollama_proxy.settings import UPSTREAM, Address
from ollama_proxy.takeover.actions import Run, shown
from ollama_proxy.takeover.facts import (
    Answer,
    Facts,
    Keeper,
    Listener,
    Proxy,
    Unit,
    host_in_file,
    running,
    unit_from,
)
from ollama_proxy.takeover.plan import Impossible, Plan, drop_in, made, undoing

OLLAMA = Answer("0.33.0", (("llama3.2:latest", "d"),))
SYSTEM = Unit(False, True, 812, "/etc/systemd/system/ollama.service", None)
USER = Unit(True, True, 812, "/home/u/.config/systemd/user/ollama.service", None)
OWN = "http://127.0.0.1:11435"
BACKGROUND = Proxy(99, OWN, {"privacy.mode": "none"})
SERVICE: dict[str, Any] = {"proxy": Proxy(99, OWN, {"data_dir": "/d"}), "keeper": Keeper.SERVICE}


def facts(**changed: Any) -> Facts:
    """Of a usual machine: the official installer's Ollama, and a user without a proxy."""
    usual: dict[str, Any] = {
        "at": UPSTREAM.parse("http://127.0.0.1:11434"),
        "to": Address("127.0.0.1", 11436),
        "listen": None,
        "answer": OLLAMA,
        "answer_there": None,
        "at_taken": True,
        "to_taken": False,
        "listener": Listener(812, ("/usr/local/bin/ollama", "serve"), "ollama.service"),
        "unit": SYSTEM,
        "proxy": None,
        "data_dir": "/d",
        "program": ("ollama-proxy",),
        "root": False,
        "sudo": True,
    }
    return Facts(**usual | changed)


def commands(**changed: Any) -> list[str]:
    steps = made(facts(**changed)).steps
    return [shown(one)[0] for step in steps for one in step.actions if isinstance(one, Run)]


def refusal(**changed: Any) -> Impossible:
    with pytest.raises(Impossible) as refused:
        made(facts(**changed))
    return refused.value


def undone(plan: Plan, keeper: Keeper) -> list[str]:
    """What undoes all of it."""
    return [shown(one)[0] for one in undoing(plan, [one.name for one in plan.steps], keeper)]


def test_of_the_systems_unit_root_is_asked_by_sudo() -> None:
    folder = "/etc/systemd/system/ollama.service.d"
    assert commands() == [
        f"sudo mkdir -p {folder}",
        f"sudo tee {folder}/zz-ollama-proxy.conf with",
        "sudo systemctl daemon-reload",
        "sudo systemctl restart ollama.service",
        "ollama-proxy start --data-dir /d",
    ]
    assert not any(one.startswith("sudo") for one in commands(root=True))
    lines = refusal(sudo=False).lines
    assert f"  mkdir -p {folder}" in lines and "  systemctl restart ollama.service" in lines
    assert lines[-1] == "  ollama-proxy takeover --data-dir /d --port 11436"


def test_of_a_users_unit_nobody_is_asked() -> None:
    found = commands(unit=USER, sudo=False)
    assert "systemctl --user restart ollama.service" in found
    assert drop_in(USER).startswith("/home/u/.config/systemd/user/ollama.service.d/")


def test_a_packages_unit_gets_its_drop_in_where_the_administrators_are() -> None:
    packaged = Unit(False, True, 812, "/usr/lib/systemd/system/ollama.service", None)
    assert drop_in(packaged).startswith("/etc/systemd/system/ollama.service.d/")


def test_it_is_undone_in_an_order_in_which_each_port_is_free() -> None:
    undo = undone(made(facts(proxy=BACKGROUND)), Keeper.NOBODY)
    assert [line.split()[:2] for line in undo] == [
        ["ollama-proxy", "stop"],
        ["remove", "/d/takeover.toml"],
        ["sudo", "rm"],
        ["sudo", "rmdir"],
        ["sudo", "systemctl"],
        ["sudo", "systemctl"],
        ["wait", "until"],
        ["ollama-proxy", "start"],
    ]
    assert undo[-1].endswith("--privacy-mode none")
    kept = undone(made(facts(folder_exists=True)), Keeper.NOBODY)
    assert not any("rmdir" in line for line in kept)


def test_a_proxy_that_runs_as_a_service_stays_one() -> None:
    assert commands(**SERVICE)[-1] == "systemctl --user restart ollama-proxy.service"
    undo = undone(made(facts(**SERVICE)), Keeper.SERVICE)
    assert undo[0] == "systemctl --user stop ollama-proxy.service"
    assert undo[-1] == "systemctl --user start ollama-proxy.service"
    sets = Proxy(99, "u", {"data_dir": "/d", "listen": "127.0.0.1:11500"})
    why = str(refusal(proxy=sets, keeper=Keeper.SERVICE))
    assert why.endswith("install it without: ollama-proxy service install --data-dir /d")
    assert "systemctl --user start" in str(refusal(keeper=Keeper.SERVICE))


def test_a_proxy_of_another_unit_is_left_alone() -> None:
    why = str(refusal(proxy=BACKGROUND, keeper=Keeper.ANOTHER))
    assert "another unit of systemd's" in why and "systemctl status 99 names it" in why
    with pytest.raises(Impossible, match="end it by that unit"):
        undone(made(facts(proxy=BACKGROUND)), Keeper.ANOTHER)


def test_it_is_undone_as_the_proxy_runs_by_then() -> None:
    """A service that was installed since, or uninstalled; a proxy that was not there before."""
    undo = undone(made(facts(proxy=BACKGROUND)), Keeper.SERVICE)
    assert undo[0] == "systemctl --user stop ollama-proxy.service"
    assert undo[-1] == "systemctl --user start ollama-proxy.service"
    undo = undone(made(facts(**SERVICE)), Keeper.NOBODY)
    assert (undo[0], undo[-1]) == (
        "ollama-proxy stop --data-dir /d",
        "ollama-proxy start --data-dir /d",
    )
    assert undone(made(facts()), Keeper.NOBODY)[-1].startswith("wait until Ollama answers")


def test_a_flag_that_the_proxy_was_started_with_is_given_anew() -> None:
    given = Proxy(99, "u", {"listen": "127.0.0.1:11435", "log.level": "debug"})
    assert commands(proxy=given)[-1].endswith("restart --data-dir /d --listen 127.0.0.1:11434")


def test_this_program_is_shown_by_the_name_that_users_know() -> None:
    program = ("/venv/bin/python", "-m", "ollama_proxy")
    assert commands(program=program)[-1] == "ollama-proxy start --data-dir /d"


@pytest.mark.parametrize("address", ["0.0.0.0", "::", "192.168.1.5"])
@pytest.mark.parametrize("unit", [SYSTEM, None])
def test_other_machines_are_neither_cut_off_nor_let_in_unasked(
    address: str, unit: Unit | None
) -> None:
    changed: dict[str, Any] = {"addresses": ("127.0.0.1", address), "unit": unit}
    why = str(refusal(**changed))
    assert "--listen 0.0.0.0:11434 has the proxy do so, --listen 127.0.0.1:11434 ends it" in why
    said = Address("0.0.0.0", 11434)
    if unit is None:
        lines = refusal(**changed, listen=said, flags={"config": "/p.toml"}).lines
        assert lines[-1].endswith("--config /p.toml --port 11436 --listen 0.0.0.0:11434")
        return
    plan = made(facts(**changed, listen=said))
    assert plan.address == "http://127.0.0.1:11434"
    assert any("0.0.0.0:11434" in line for s in plan.steps for a in s.actions for line in shown(a))


def test_an_address_of_this_machine_only_is_no_question() -> None:
    assert made(facts(addresses=("127.0.0.1", "::1"))).address == "http://127.0.0.1:11434"


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"at": UPSTREAM.parse("http://gpu-box:11434")}, "not an Ollama of this machine"),
        ({"to": Address("127.0.0.1", 11434)}, "at port 11434 already: name another one"),
        ({"listen": Address("127.0.0.1", 11500)}, "expected port 11434, which programs call"),
        (
            {"unit": Unit(True, True, 812, "/u/ollama.service", None, {"/e": None, "/f": "x"})},
            "/f sets OLLAMA_HOST=x, which wins over a drop-in: take it out, then systemctl --user",
        ),
        ({"drop_in_exists": True}, "remove it, then again"),
        ({"foreign": True}, "run takeover as that user, without sudo"),
        ({"explicit": {"listen": "environment OLLAMA_PROXY_LISTEN"}}, "unset OLLAMA_PROXY_LISTEN"),
        (
            {"listener": Listener(7, ("/usr/bin/python3", "-m", "ollama_proxy", "serve"))},
            "a proxy listens at http://127.0.0.1:11434 already (process 7)",
        ),
        ({"explicit": {"upstream": "file /p.toml"}}, "take it out of /p.toml"),
    ],
)
def test_what_it_refuses(changed: dict[str, Any], why: str) -> None:
    assert why in str(refusal(**changed))


@pytest.mark.parametrize(
    ("listener", "line"),
    [
        (Listener(7, ("docker-proxy", "-proto")), "  -p 127.0.0.1:11436:11434"),
        (Listener(7, ("ollama",), None, "0123456789ab"), "  -p 127.0.0.1:11436:11434"),
        (Listener(7, ("ollama",), "snap.ollama.listener.service"), "  snap get ollama"),
        (Listener(7, ("ollama",), "llm.service"), "  sudo systemctl edit llm.service"),
        (Listener(7, ("ollama",), "a;b.service"), "  sudo systemctl edit 'a;b.service'"),
        (Listener(7, ("/o/ollama", "serve")), "  OLLAMA_HOST=127.0.0.1:11436 /o/ollama serve"),
    ],
)
def test_elsewhere_it_says_the_lines(listener: Listener, line: str) -> None:
    refused = refusal(listener=listener, unit=None)
    assert line in refused.lines and "ollama-proxy takeover" in refused.lines[-1]
    assert "  launchctl setenv OLLAMA_HOST 127.0.0.1:11436" in refusal(unit=None, macos=True).lines


def test_ollamas_unit_is_the_one_whose_process_listens() -> None:
    who = Listener(812, ("ollama", "serve"))
    elsewhere = msgspec.structs.replace(SYSTEM, pid=7)
    assert running([elsewhere, USER], 11434, who) is USER
    assert running([msgspec.structs.replace(SYSTEM, active=False)], 11434, who) is None
    # Another user's process is not seen: then its port tells, of which the last file has its say.
    assert running([elsewhere], 11434, None) is elsewhere
    of_file = msgspec.structs.replace(SYSTEM, host="127.0.0.1:11434", files={"/f": ":11500"})
    assert running([of_file], 11500, None) is of_file
    assert running([of_file], 11434, None) is None


def test_what_systemd_shows_is_understood() -> None:
    shown = """LoadState=loaded
ActiveState=active
MainPID=812
FragmentPath=/etc/systemd/system/ollama.service
Environment=PATH=/usr/bin OLLAMA_HOST=0.0.0.0 "A=b c" OLLAMA_HOST=127.0.0.1:11500
EnvironmentFiles=/etc/default/ollama (ignore_errors=yes)
EnvironmentFiles=/etc/more (ignore_errors=no)
"""
    unit = unit_from(shown, user=False)
    assert unit is not None and (unit.active, unit.pid, unit.port) == (True, 812, 11500)
    assert list(unit.files) == ["/etc/default/ollama", "/etc/more"]
    assert unit_from("LoadState=not-found\n", user=False) is None
    assert host_in_file('# OLLAMA_HOST=a\n\nX=1\nOLLAMA_HOST="0.0.0.0:1"\n') == "0.0.0.0:1"
