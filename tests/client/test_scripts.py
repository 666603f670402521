"""The client in programs of their own: what it loads, which proxy it finds; its page."""

from __future__ import annotations

import asyncio
import os
import re
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from ollama_proxy import client
from ollama_proxy.client import MonitorClient
from ollama_proxy.simulator import Simulator
from tests.admin.test_reference import FAST
from tests.client.support import TOKEN, monitored, script, told
from tests.harness import PATIENCE, ScriptedUpstream
from tests.processes import Program, serving

PAGE = (Path(__file__).parents[2] / "docs" / "python-client.md").read_text()
EXAMPLES = re.findall(r"^```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
STATUS = """
from ollama_proxy.client import get_monitor_status
status = get_monitor_status()
print(status["listen"] if status else status)
"""
AGAIN = """
import sys
from ollama_proxy.client import MonitorClient, MonitorDown
monitor = MonitorClient()
for _ in sys.stdin:
    try:
        print(monitor.status().listen, flush=True)
    except MonitorDown:
        print("down", flush=True)
"""


@asynccontextmanager
async def running(folder: Path, **environ: str) -> AsyncIterator[Program]:
    """A proxy in a process of its own, with calls of a simulator."""
    simulator = Simulator(FAST)
    upstream = await simulator.start()
    try:
        async with serving(folder, upstream, cwd=None, **environ) as program:
            yield program
            await program.stop()
    finally:
        await simulator.stop()


async def test_it_loads_no_server_and_aiohttp_only_where_it_is_used() -> None:
    code, out, err = await script("""
import sys
import ollama_proxy.client as client
heavy = {"aiohttp", "jinja2", "click", "rich", "psutil", "sqlite3", "asyncio"}
print(sorted(heavy & {name.partition(".")[0] for name in sys.modules}))
print(sorted({"ollama_proxy.storage.base", "ollama_proxy.stats"} & sys.modules.keys()))
client.AsyncMonitorClient
print(sorted(name for name in sys.modules if name.startswith(("aiohttp.web", "jinja2"))))
print(sorted(n for n in sys.modules if n.startswith(("ollama_proxy.app", "ollama_proxy.admin"))))
print(sorted(set(client.__all__) - {name for name in client.__all__ if hasattr(client, name)}))
""")
    assert (code, out, err) == (0, "[]\n" * 5, "")


@pytest.mark.parametrize("example", EXAMPLES)
async def test_the_examples_of_its_page_run(example: str, tmp_path: Path) -> None:
    async with running(tmp_path) as program:
        for model in ("m", "missing"):
            caller = await program.client()
            body = b'{"model": "%b", "prompt": "hello"}' % model.encode()
            await caller.send(
                b"POST /api/generate HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n%b"
                % (len(body), body)
            )
            await caller.read_message()
            await caller.close()
        code, out, err = await script(example, OLLAMA_PROXY_DATA_DIR=str(tmp_path))
    assert (code, err) == (0, "") and out


def test_the_page_tells_each_method_and_error() -> None:
    told = {*re.findall(r"`(\w+)", PAGE)}
    assert {name for name in vars(MonitorClient) if not name.startswith("_")} <= told
    assert {name for name in client.__all__ if "Monitor" in name} - {"AsyncMonitorClient"} <= told


async def test_the_proxy_of_the_data_folder_is_found_and_no_other_is_used(tmp_path: Path) -> None:
    """Nor one that the environment names for HTTP."""
    async with (
        running(tmp_path) as program,
        ScriptedUpstream(lambda connection: told(connection, b"{}")) as other,
    ):
        through = dict.fromkeys(("HTTP_PROXY", "http_proxy", "ALL_PROXY"), other.url)
        both = STATUS + (
            "import asyncio\nfrom ollama_proxy.client import AsyncMonitorClient\n"
            "async def main():\n"
            "    async with AsyncMonitorClient() as monitor:\n"
            "        print((await monitor.status()).listen)\n"
            "asyncio.run(main())"
        )
        code, out, err = await script(both, OLLAMA_PROXY_DATA_DIR=str(tmp_path), **through)
        assert (code, out, err) == (0, f"127.0.0.1:{program.port}\n" * 2, "")
        assert other.connections == 0


async def test_without_one_that_of_the_settings_is_found(tmp_path: Path) -> None:
    """At the pages' address, or where another program has that, at the proxy's own."""
    html = b"<html>It works!</html>"
    async with (
        monitored(tmp_path / "its") as proxy,
        ScriptedUpstream(lambda connection: told(connection, html)) as other,
    ):
        environ = {"OLLAMA_PROXY_DATA_DIR": str(tmp_path / "none")}
        listen = f"127.0.0.1:{proxy.app.port}"
        for pages in (str(proxy.app.admin_address), f"127.0.0.1:{other.port}", "off"):
            environ |= {"OLLAMA_PROXY_ADMIN_LISTEN": pages, "OLLAMA_PROXY_LISTEN": listen}
            code, out, err = await script(STATUS, **environ)
            assert (code, err) == (0, "") and out.startswith("127.0.0.1:"), pages
        assert not (tmp_path / "none").exists()


async def test_none_at_all_is_none_and_a_wrong_setting_is_told(tmp_path: Path) -> None:
    environ = {"OLLAMA_PROXY_DATA_DIR": str(tmp_path), "OLLAMA_PROXY_LISTEN": "127.0.0.1:1"}
    environ |= {"OLLAMA_PROXY_ADMIN_LISTEN": "127.0.0.1:2"}
    assert await script(STATUS, **environ) == (0, "None\n", "")
    code, out, err = await script(STATUS, **environ, OLLAMA_PROXY_ADMIN_PATH="x")
    assert (code, out) == (0, "None\n")
    assert "MonitorWarning: admin_path" in err
    code, out, err = await script(
        "from ollama_proxy.client import MonitorClient as C; C().status()", **environ
    )
    assert code == 1
    assert err.splitlines()[-1] == (
        "ollama_proxy.client.errors.MonitorDown: no monitor answers at http://127.0.0.1:2 or "
        "http://127.0.0.1:1/admin: ollama-proxy start runs one, url= names another"
    )


async def test_the_token_of_the_settings_is_used(tmp_path: Path) -> None:
    environ = {"OLLAMA_PROXY_DATA_DIR": str(tmp_path)}
    async with running(tmp_path, OLLAMA_PROXY_ADMIN_TOKEN=TOKEN):
        right = await script(STATUS, **environ, OLLAMA_PROXY_ADMIN_TOKEN=TOKEN)
        assert right[0] == 0 and right[1].startswith("127.0.0.1:") and not right[2]
        thrice = "for _ in range(3): get_monitor_status()\n"
        code, out, err = await script(STATUS * 2 + thrice, **environ)
    assert (code, out) == (0, "None\nNone\n")
    assert err.count("MonitorWarning: http://127.0.0.1:") == 3, err  # once for each place


async def test_a_proxy_that_was_started_again_elsewhere_is_found_again(tmp_path: Path) -> None:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", AGAIN),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        env=os.environ | {"OLLAMA_PROXY_DATA_DIR": str(tmp_path)},
    )
    assert process.stdin is not None and process.stdout is not None

    async def told() -> str:
        process.stdin.write(b"\n")  # type: ignore[union-attr]
        return (await process.stdout.readline()).decode().strip()  # type: ignore[union-attr]

    try:
        async with asyncio.timeout(PATIENCE):
            async with running(tmp_path) as program:
                assert await told() == f"127.0.0.1:{program.port}"
            assert await told() == "down"
            async with running(tmp_path) as program:
                assert await told() == f"127.0.0.1:{program.port}"
    finally:
        process.kill()
        await process.wait()
