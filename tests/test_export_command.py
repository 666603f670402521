"""`ollama-proxy export` as a user meets it: beside a running proxy and without one."""

from __future__ import annotations

import asyncio
import csv
import json
import os
import shlex
import sqlite3
import stat
import sys
from pathlib import Path

import pytest

from ollama_proxy.derived import KEYS
from ollama_proxy.storage.folder import DATABASE
from ollama_proxy.storage.sqlite import SqliteStore
from tests.harness import PATIENCE
from tests.processes import run, serving
from tests.storage.calls import make_call

# More than one page, and more than a pipe holds.
CALLS = [make_call(client="me" if n % 3 else "you", prompt="x" * 100) for n in range(1500)]


def ids(out: str) -> list[str]:
    return [json.loads(line)["id"] for line in out.splitlines()]


OLDEST = CALLS[0].id


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A data folder with calls in it."""
    store = SqliteStore(tmp_path / "data" / DATABASE)
    store.open()
    store.write(CALLS)
    store.close()
    return tmp_path / "data"


async def export(data: Path, *flags: str) -> tuple[int, str, str]:
    return await run("export", "--data-dir", str(data), *flags)


async def test_all_calls_newest_first_as_csv(data: Path) -> None:
    code, out, err = await export(data)
    assert (code, err) == (0, "exported 1500 calls\n")
    head, *rows = csv.reader(out.splitlines())
    assert head == list(KEYS)
    assert [row[0] for row in rows] == [call.id for call in CALLS[::-1]]


async def test_filters_are_those_of_the_rest_answers(data: Path) -> None:
    flags = ["--client", "you", "--limit", "3", "--before", CALLS[-10].id]
    code, out, err = await export(data, "--format", "jsonl", *flags)
    expected = [call.id for call in CALLS[-11::-1] if call.client == "you"][:3]
    assert (code, ids(out), err) == (0, expected, "exported 3 calls\n")
    code, out, err = await export(data, "--slower-than", "5", "--format", "jsonl")
    assert (code, out, err) == (0, "", "exported 0 calls\n")


async def test_beside_a_running_proxy_and_it_goes_on(data: Path) -> None:
    async with serving(data, "http://127.0.0.1:9", "--retention-days", "0") as program:
        code, out, _ = await export(data, "--format", "jsonl")
        assert (code, len(ids(out))) == (0, 1500)
        client = await program.client()
        await client.send(b"GET /api/version HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert (await client.read_head()).startswith(b"HTTP/1.1 502")
        async with asyncio.timeout(PATIENCE):
            while (await program.get("status"))["total_requests"] < 1501:
                await asyncio.sleep(0.05)
            while len(ids((await export(data, "--format", "jsonl"))[1])) < 1501:
                await asyncio.sleep(0.05)
        assert await program.stop() == 0


async def test_into_a_file_of_ones_own_and_never_over_another(data: Path, tmp_path: Path) -> None:
    file = tmp_path / "calls.csv"
    code, out, err = await export(data, "--output", str(file))
    assert (code, out, err) == (0, "", "exported 1500 calls\n")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    written = file.read_bytes()
    assert written.count(b"\r\n") == 1501
    code, _, err = await export(data, "--output", str(file), "--limit", "1")
    assert (code, err) == (1, f"ollama-proxy: {file} exists: --force overwrites it\n")
    assert file.read_bytes() == written
    code, _, err = await export(data, "--output", str(file), "--limit", "1", "--force")
    assert (code, err) == (0, "exported 1 call\n")
    assert file.read_bytes().count(b"\r\n") == 2


async def test_a_file_that_cannot_be_written_is_one_line(data: Path, tmp_path: Path) -> None:
    file = tmp_path / "nowhere" / "calls.csv"
    code, _, err = await export(data, "--output", str(file))
    assert (code, err.count("\n")) == (1, 1)
    assert f"cannot write {file}: No such file or directory: name another file" in err


async def test_a_full_disk_is_one_line(data: Path) -> None:
    code, _, err = await export(data, "--output", "/dev/full", "--force")
    assert (code, err.count("\n")) == (1, 1)
    assert "cannot write /dev/full: No space left on device: name another file" in err


async def test_a_new_file_that_cannot_be_written_whole_is_removed(
    data: Path, tmp_path: Path
) -> None:
    with sqlite3.connect(data / DATABASE) as database:
        database.execute("UPDATE calls SET prompt = CAST(x'ff' AS TEXT) WHERE id = ?", [OLDEST])
    database.close()
    file = tmp_path / "calls.csv"
    code, _, err = await export(data, "--output", str(file))
    assert (code, err.count("\n")) == (1, 1)
    assert "is damaged" in err
    assert os.listdir(tmp_path) == ["data"]


async def test_a_reader_that_has_enough_is_no_error(data: Path) -> None:
    command = shlex.join([sys.executable, "-m", "ollama_proxy", "export", "--data-dir", str(data)])
    shell = await asyncio.create_subprocess_shell(
        f"({command}; echo code $? >&2) | head -n 1",
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await asyncio.wait_for(shell.communicate(), PATIENCE)
    assert out.startswith(b"id,method,path,")
    assert err == b"code 141\n"  # as of a program that SIGPIPE ended


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        (["--state", "done"], "state=done: must be one of running, completed, "),
        (["--since", "yesterday"], "since=yesterday: must be a time: 2h or 7d (ago), "),
        (["--limit", "0"], "limit=0: must be a whole number from 1 to 999999999"),
        (["--client", ""], "client=: must be the name of a client"),
    ],
)
async def test_a_wrong_filter_is_one_line_that_says_what_would_be_right(
    data: Path, flags: list[str], expected: str
) -> None:
    code, out, err = await export(data, *flags)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert err.startswith(f"ollama-proxy: {expected}")


async def test_a_folder_without_calls_is_told_and_no_file_begun(tmp_path: Path) -> None:
    file = tmp_path / "calls.csv"
    code, out, err = await export(tmp_path, "--output", str(file))
    assert (code, out, err.count("\n")) == (1, "", 1)
    assert f"{tmp_path / DATABASE} does not exist" in err
    assert os.listdir(tmp_path) == []


async def test_help_tells_every_filter() -> None:
    code, out, _ = await run("export", "--help")
    assert code == 0
    for flag in ("--client", "--slower-than", "--since", "--text", "--data-dir", "--force"):
        assert flag in out
