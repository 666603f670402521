"""What a takeover would do for what is found, and what it refuses, without a machine for each."""

from __future__ import annotations

from typing import Any

import pytest

from ollama_proxy.settings import UPSTREAM, Address
from ollama_proxy.takeover.facts import (
    Answer,
    Facts,
    Listener,
    Proxy,
    Unit,
    host_in_file,
    is_open,
    unit_from,
)
from ollama_proxy.takeover.plan import Refusal, Run, drop_in, made, shown

OLLAMA = Answer("0.33.0", (("llama3.2:latest", "d"),))
SYSTEM = Unit(False, True, 812, "/etc/systemd/system/ollama.service", None)
USER = Unit(True, True, 812, "/home/u/.config/systemd/user/ollama.service", None)
BACKGROUND = Proxy(99, "http://127.0.0.1:11435", {"privacy.mode": "none"}, False)
SERVICE = Proxy(99, "http://127.0.0.1:11435", {"data_dir": "/d"}, True)


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
        "units": (SYSTEM,),
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


def refusal(**changed: Any) -> Refusal:
    with pytest.raises(Refusal) as refused:
        made(facts(**changed))
    return refused.value


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
    found = commands(units=(USER,), sudo=False)
    assert "systemctl --user restart ollama.service" in found
    assert drop_in(USER).startswith("/home/u/.config/systemd/user/ollama.service.d/")


def test_a_packages_unit_gets_its_drop_in_where_the_administrators_are() -> None:
    packaged = Unit(False, True, 812, "/usr/lib/systemd/system/ollama.service", None)
    assert drop_in(packaged).startswith("/etc/systemd/system/ollama.service.d/")


def test_it_is_undone_in_an_order_in_which_each_port_is_free() -> None:
    plan = made(facts(proxy=BACKGROUND))
    undo = [shown(one.action)[0] for one in plan.undo]
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
    kept = made(facts(folder_exists=True)).undo
    assert not any("rmdir" in shown(one.action)[0] for one in kept)


def test_a_proxy_that_runs_as_a_service_stays_one() -> None:
    assert commands(proxy=SERVICE)[-1] == "systemctl --user restart ollama-proxy.service"
    undo = [shown(one.action)[0] for one in made(facts(proxy=SERVICE)).undo]
    assert undo[0] == "systemctl --user stop ollama-proxy.service"
    assert undo[-1] == "systemctl --user start ollama-proxy.service"
    sets = Proxy(99, "u", {"data_dir": "/d", "listen": "127.0.0.1:11500"}, True)
    why = str(refusal(proxy=sets))
    assert why.endswith("install it without: ollama-proxy service install --data-dir /d")
    assert "systemctl --user start" in str(refusal(service_installed=True))


def test_a_flag_that_the_proxy_was_started_with_is_given_anew() -> None:
    given = Proxy(99, "u", {"listen": "127.0.0.1:11435", "log.level": "debug"}, False)
    assert commands(proxy=given)[-1].endswith("restart --data-dir /d --listen 127.0.0.1:11434")


@pytest.mark.parametrize("host", ["0.0.0.0", "http://0.0.0.0:11434", "[::]:11434", "192.168.1.5"])
def test_other_machines_are_neither_cut_off_nor_let_in_unasked(host: str) -> None:
    opened = Unit(False, True, 812, "/etc/systemd/system/ollama.service", host)
    why = str(refusal(units=(opened,)))
    assert "--listen 0.0.0.0:11434 has the proxy do so, --listen 127.0.0.1:11434 ends it" in why
    said = Address("0.0.0.0", 11434)
    plan = made(facts(units=(opened,), listen=said))
    assert plan.address == "http://127.0.0.1:11434"
    assert any("0.0.0.0:11434" in line for s in plan.steps for a in s.actions for line in shown(a))


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"at": UPSTREAM.parse("http://gpu-box:11434")}, "not an Ollama of this machine"),
        ({"to": Address("127.0.0.1", 11434)}, "at port 11434 already: name another one"),
        ({"listen": Address("127.0.0.1", 11500)}, "expected port 11434, which programs call"),
        ({"file_hosts": {"/etc/default/ollama": "x"}}, "/etc/default/ollama sets OLLAMA_HOST=x"),
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
        (Listener(7, ("/o/ollama", "serve")), "  OLLAMA_HOST=127.0.0.1:11436 /o/ollama serve"),
    ],
)
def test_elsewhere_it_says_the_lines(listener: Listener, line: str) -> None:
    refused = refusal(listener=listener)
    assert line in refused.lines and "ollama-proxy takeover" in refused.lines[-1]
    assert "  launchctl setenv OLLAMA_HOST 127.0.0.1:11436" in refusal(units=(), macos=True).lines


def test_a_unit_that_is_not_what_listens_is_left_alone() -> None:
    assert refusal(listener=Listener(7, ("ollama", "serve"))).lines
    stopped = Unit(False, False, 0, "/etc/systemd/system/ollama.service", None)
    assert refusal(units=(stopped,), listener=None).lines


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
    assert unit.files == ("/etc/default/ollama", "/etc/more")
    assert unit_from("LoadState=not-found\n", user=False) is None
    assert host_in_file('# OLLAMA_HOST=a\n\nX=1\nOLLAMA_HOST="0.0.0.0:1"\n') == "0.0.0.0:1"
    assert not is_open(None) and not is_open(":11500") and not is_open("localhost:1")
