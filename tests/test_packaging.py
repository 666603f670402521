"""What is published is whole: the wheel alone, away from this folder, serves the page."""

from __future__ import annotations

import asyncio
import re
import sys
import urllib.request
import zipfile
from pathlib import Path

from tests.processes import serving

ROOT = Path(__file__).parent.parent


async def build_wheel(folder: Path) -> Path:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)),
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    said, _ = await process.communicate()
    assert process.returncode == 0, said.decode()
    return folder / said.decode().split()[-1].rpartition("/")[2]


def fetch(url: str) -> str:
    with urllib.request.urlopen(url) as answer:
        text: str = answer.read().decode()
        return text


async def test_the_wheel_serves_the_page(tmp_path: Path) -> None:
    wheel = await build_wheel(tmp_path)
    with zipfile.ZipFile(wheel) as packed:
        names = packed.namelist()
        packed.extractall(tmp_path / "site")
    assert not [name for name in names if name.startswith(("tests", "benchmarks", "dashboard"))]
    assert any(name.endswith("licenses/LICENSE") for name in names)
    site = str(tmp_path / "site")
    async with serving(
        tmp_path / "data", "http://127.0.0.1:9", cwd=tmp_path, PYTHONPATH=site
    ) as program:
        where = f"http://127.0.0.1:{program.port}/admin/"
        page = await asyncio.to_thread(fetch, where)
        for file in re.findall(r'(?:href|src)="(static/[^"]+)"', page):
            assert await asyncio.to_thread(fetch, where + file)
    assert "static/" in page
