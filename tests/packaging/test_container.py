"""Dockerfile and compose file, held against the program and each other.

Not here: building an image, for which there is no Docker where these tests run.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from ollama_proxy.commands.status import OLLAMA_DOWN
from ollama_proxy.config import ConfigError, load, misspelt
from ollama_proxy.service import STORE_SECONDS

ROOT = Path(__file__).parents[2]
TOKEN = "OLLAMA_PROXY_ADMIN_TOKEN"


def instructions() -> list[tuple[str, str]]:
    """Of the Dockerfile: (`RUN`, the rest of its line)."""
    text = re.sub(r"(?m)^\s*#.*\n", "", (ROOT / "Dockerfile").read_text())
    lines = text.replace("\\\n", " ").splitlines()
    return [(line.split()[0], line.partition(" ")[2].strip()) for line in lines if line]


def stages() -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
    """What builds the wheel, and what becomes the image."""
    _, second = (place for place, (word, _) in enumerate(instructions()) if word == "FROM")
    return instructions()[:second], instructions()[second:]


def only(word: str) -> str:
    (found,) = (rest for one, rest in stages()[1] if one == word)
    return found


def image_environment() -> dict[str, str]:
    return dict(re.findall(r"(\w+)=(\S+)", only("ENV")))


def composed() -> dict[str, Any]:
    told: dict[str, Any] = yaml.safe_load((ROOT / "compose.yaml").read_text())
    return told


def proxy() -> dict[str, Any]:
    service: dict[str, Any] = composed()["services"]["ollama-proxy"]
    return service


def environment() -> dict[str, str]:
    """What the proxy finds in a container of compose, but for the token."""
    said = {**image_environment(), **proxy()["environment"]}
    return {name: value for name, value in said.items() if name != TOKEN}


def test_its_settings_are_right_and_it_starts_with_a_token_only() -> None:
    assert misspelt(environment()) == []
    with pytest.raises(ConfigError, match=TOKEN):
        load({}, environment())
    assert f"${{{TOKEN}:?" in proxy()["environment"][TOKEN]
    config = load({}, {**environment(), TOKEN: "0123456789abcdef"})
    assert config.listen.host == "0.0.0.0"
    assert config.admin_listen is not None and config.admin_listen.host == "0.0.0.0"


def test_ports_are_those_that_it_listens_at_and_reach_no_further_than_this_machine() -> None:
    config = load({}, {**environment(), TOKEN: "0123456789abcdef"})
    assert config.admin_listen is not None
    ports = [config.listen.port, config.admin_listen.port]
    assert only("EXPOSE").split() == [str(port) for port in ports]
    assert proxy()["ports"] == [f"127.0.0.1:{port}:{port}" for port in ports]
    assert "ports" not in composed()["services"]["ollama"]
    assert config.upstream.host in composed()["services"]


def test_it_runs_as_nobody_in_a_file_system_that_it_cannot_write() -> None:
    user, group = only("USER").split(":")
    folder = load({}, {**environment(), TOKEN: "0123456789abcdef"}).data_dir
    assert user.isdecimal() and group.isdecimal() and int(user) > 0
    assert only("RUN") == f"install -d -m 0700 -o {user} -g {group} {folder}"
    assert json.loads(only("VOLUME")) == [str(folder)]
    ours = proxy()
    assert ours["read_only"] is True and ours["tmpfs"] == ["/tmp"]
    assert ours["cap_drop"] == ["ALL"] and ours["security_opt"] == ["no-new-privileges:true"]
    volume, _, place = ours["volumes"][0].partition(":")
    assert volume in composed()["volumes"] and place == str(folder)
    assert image_environment()["SQLITE_TMPDIR"] == place


def test_a_stop_reaches_it_and_lets_running_calls_end() -> None:
    assert json.loads(only("ENTRYPOINT")) == ["ollama-proxy"]
    assert json.loads(only("CMD")) == ["serve"]
    assert only("STOPSIGNAL") == "SIGTERM"
    drain = load({}, {**environment(), TOKEN: "0123456789abcdef"}).timeouts.drain
    assert proxy()["stop_grace_period"] == f"{drain + STORE_SECONDS:g}s"


def test_it_is_healthy_without_ollama() -> None:
    check = json.loads(only("HEALTHCHECK").partition("CMD")[2])
    assert check == ["sh", "-c", f"ollama-proxy status || test $? -eq {OLLAMA_DOWN}"]


def test_bases_have_a_version_and_what_is_built_stays_behind() -> None:
    bases = [rest.split()[0] for word, rest in instructions() if word == "FROM"]
    images = [*bases, composed()["services"]["ollama"]["image"]]
    assert all(re.search(r":[0-9]+\.[0-9]+", image) for image in images)
    build, image = stages()
    copied = [rest for word, rest in image if word in ("COPY", "ADD")]
    assert copied == ["--from=build /opt/ollama-proxy /opt/ollama-proxy"]
    (steps,) = (rest for word, rest in build if word == "RUN")
    pips = [step for step in steps.split("&&") if step.split()[0] == "pip"]
    assert pips and all("--no-cache-dir" in step for step in pips)


def test_what_the_wheel_is_built_from_reaches_the_builder() -> None:
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    let_in = [line[1:] for line in lines if line.startswith("!")]
    assert "*" in lines and all((ROOT / path).exists() for path in let_in)
    project = (ROOT / "pyproject.toml").read_text()
    data = project.partition("shared-data]")[2].partition("\n\n")[0]
    assert set(re.findall(r'^"(.+)" =', data, re.MULTILINE)) <= set(let_in)
