"""What is published is whole: the wheel alone, with what it says that it needs, is the program."""

from __future__ import annotations

import asyncio
import email
import os
import re
import subprocess
import sys
import sysconfig
import tarfile
import urllib.request
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from importlib import metadata
from pathlib import Path, PurePath

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from ollama_proxy import __version__
from tests.processes import serving

ROOT = Path(__file__).parents[2]
NAME = f"ollama_proxy-{__version__}"
KINDS = {".py", ".html", ".css", ".js", ".json", ".svg", ".md", ".txt"}
ISOLATED = {"PYTHONPATH": ""}
FROM_ROOT = {"CHANGELOG.md", "LICENSE", "PKG-INFO", "README.md", "config.example.toml"}


def output_of(command: Sequence[str | Path], cwd: Path) -> str:
    environ = {**os.environ, **ISOLATED}
    done = subprocess.run(
        command, cwd=cwd, env=environ, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def build(source: Path, folder: Path) -> tuple[Path, Path]:
    """The wheel and the sdist of a source tree."""
    output_of([sys.executable, "-m", "hatchling", "build", "-d", folder], source)
    (wheel,), (sdist,) = folder.glob("*.whl"), folder.glob("*.tar.gz")
    return wheel, sdist


def content(wheel: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(wheel) as packed:
        return {name: packed.read(name) for name in packed.namelist()}


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return build(ROOT, tmp_path_factory.mktemp("dist"))


def test_the_wheel_has_the_program_and_nothing_else(built: tuple[Path, Path]) -> None:
    names = [PurePath(name) for name in content(built[0])]
    assert {name.parts[0] for name in names} == {
        "ollama_proxy",
        f"{NAME}.data",
        f"{NAME}.dist-info",
    }
    files = [name for name in names if name.parts[0] == "ollama_proxy"]
    assert {name.suffix for name in files} <= KINDS
    assert not [name for name in files if {"tests", "__pycache__"} & set(name.parts)]
    assert PurePath(f"{NAME}.dist-info/licenses/LICENSE") in names


def test_the_sdist_has_its_own_files_only_and_builds_the_same_wheel(
    built: tuple[Path, Path], tmp_path: Path
) -> None:
    wheel, sdist = built
    with tarfile.open(sdist) as packed:
        names = [PurePath(name).relative_to(NAME) for name in packed.getnames()]
        packed.extractall(tmp_path, filter="data")
    top = {name.parts[0] for name in names}
    assert top == FROM_ROOT | {".gitignore", "dashboard", "docs", "ollama_proxy", "pyproject.toml"}
    assert [name.name for name in names if name.parts[0] == "docs"] == ["ollama-proxy.1"]
    assert not [name for name in names if "__pycache__" in name.parts]
    again, _ = build(tmp_path / NAME, tmp_path / "dist")
    assert content(again) == content(wheel)


def needed(requirements: Iterable[str], seen: set[str]) -> Iterator[metadata.Distribution]:
    """The installed distributions that these lines ask for, and that those ask for in turn."""
    for line in requirements:
        wanted = Requirement(line)
        if wanted.marker is not None and not wanted.marker.evaluate({"extra": ""}):
            continue
        name = canonicalize_name(wanted.name)
        if name not in seen:
            seen.add(name)
            found = metadata.distribution(wanted.name)
            yield found
            yield from needed(found.requires or [], seen)


def install(wheel: Path, folder: Path) -> Path:
    """Its scripts, in an environment that has what the wheel asks for, and nothing else: links to
    what is installed here, so that no network is needed."""
    output_of([sys.executable, "-m", "venv", "--without-pip", folder], folder.parent)
    python = folder / "bin/python"
    site = Path(sysconfig.get_path("purelib", vars={"base": str(folder)}))
    told = email.message_from_bytes(content(wheel)[f"{NAME}.dist-info/METADATA"])
    for found in needed(told.get_all("Requires-Dist", []), set()):
        for top in {file.parts[0] for file in found.files or []} - {"..", "__pycache__"}:
            (site / top).symlink_to(Path(str(found.locate_file(top))))
    pip: list[str | Path] = [sys.executable, "-m", "pip", "--python", python]
    output_of([*pip, "install", "--quiet", "--no-index", "--no-deps", wheel], folder.parent)
    output_of([*pip, "check"], folder.parent)
    return python.parent


def fetch(url: str) -> str:
    with urllib.request.urlopen(url) as answer:
        text: str = answer.read().decode()
        return text


async def test_installed_it_serves_the_page(built: tuple[Path, Path], tmp_path: Path) -> None:
    scripts = install(built[0], tmp_path / "environment")
    program = [str(scripts / "ollama-proxy")]
    async with serving(
        tmp_path / "data", "http://127.0.0.1:9", cwd=tmp_path, program=program, **ISOLATED
    ) as running:
        where = f"http://127.0.0.1:{running.port}/admin/"
        page = await asyncio.to_thread(fetch, where)
        for file in re.findall(r'(?:href|src)="(static/[^"]+)"', page):
            assert await asyncio.to_thread(fetch, where + file)
        assert (await running.get("status"))["version"] == __version__
    assert "static/" in page
    assert "Watch what runs" in output_of([*program, "--help"], tmp_path)  # imports all commands
    share = scripts.parent / "share"
    assert (share / "man/man1/ollama-proxy.1").exists()
    example = share / "doc/ollama-proxy/config.example.toml"
    said = output_of([*program, "config", "check", "--config", example], tmp_path)
    assert said.startswith("right: 0 of ")
