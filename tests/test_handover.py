"""A restart under load, from outside, with real processes: nothing is refused, lost or doubled."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from ollama_proxy.handover.link import (
    FILE,
    PROTOCOL,
    Done,
    Give,
    Given,
    Hello,
    Link,
    Listening,
    Refusal,
    Taken,
    connect,
)
from ollama_proxy.storage.folder import DATABASE, claim_handover, kept_free, release
from tests.harness import PATIENCE, Connection, ScriptedUpstream, head_bytes
from tests.processes import start
from tests.test_background import Here

ANSWER = b'{"model":"m","response":"the answer","done":true}'
WHOLE = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(ANSWER), ANSWER)


class Ollama:
    """Answers at once, but for a prompt that says `slow`: that waits for `release`."""

    def __init__(self) -> None:
        self.asked, self.release = asyncio.Event(), asyncio.Event()

    async def __call__(self, upstream: Connection) -> None:
        while True:
            try:
                head, body = await upstream.read_message()
            except TimeoutError:
                return  # as Ollama does with a connection that nobody uses
            if b"x-ollama-proxy-probe" in head.lower():
                await upstream.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
                continue
            if b"slow" in body:
                self.asked.set()
                await upstream.send(WHOLE[:-5])
                await self.release.wait()
                await upstream.send(WHOLE[-5:])
            else:
                await upstream.send(WHOLE)


class Place(Here):
    """A proxy in the background, in front of an `Ollama`."""

    def __init__(self, folder: Path, ollama: Ollama) -> None:
        super().__init__(folder)
        self.ollama = ollama

    async def client(self, port: int | None = None) -> Connection:
        return Connection(*await asyncio.open_connection("127.0.0.1", port or self.port))

    async def slow_call(self) -> Connection:
        """A client whose call runs until `release` is set."""
        client = await self.client()
        await send(client, "slow")
        async with asyncio.timeout(PATIENCE):
            await self.ollama.asked.wait()
        return client

    async def pid(self) -> int:
        found: int = (await self.status())["pid"]
        return found

    def stored(self) -> dict[str, tuple[str, str | None]]:
        """State and reason of each call, by its prompt; each is there once."""
        with sqlite3.connect(f"file:{self.folder}/calls.sqlite3?mode=ro", uri=True) as database:
            rows = database.execute("SELECT prompt, state, reason FROM calls").fetchall()
        assert len({row[0] for row in rows}) == len(rows)
        return {prompt: (state, reason) for prompt, state, reason in rows}

    async def recorded(self, *prompts: str, state: str = "completed") -> None:
        """Wait until just these calls are stored, ended so."""
        async with asyncio.timeout(PATIENCE):
            while {p: state for p, (state, _) in self.stored().items()} != dict.fromkeys(
                prompts, state
            ):
                await asyncio.sleep(0.05)


async def send(client: Connection, prompt: str) -> None:
    body = json.dumps({"model": "m", "prompt": prompt, "stream": False}).encode()
    lines = [("Host", "localhost"), ("Content-Length", str(len(body)))]
    await client.send(head_bytes("POST /api/generate HTTP/1.1", lines) + body)


async def call(client: Connection, prompt: str) -> None:
    await send(client, prompt)
    assert (await client.read_message())[1] == ANSWER


async def gone(pid: int) -> None:
    async with asyncio.timeout(PATIENCE):
        while _runs(pid):
            await asyncio.sleep(0.05)


def _runs(pid: int) -> bool:
    try:
        return "(zombie)" not in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False


@pytest.fixture
async def place(tmp_path: Path) -> AsyncIterator[Place]:
    ollama = Ollama()
    async with ScriptedUpstream(ollama) as upstream:
        place = Place(tmp_path / "data", ollama)
        assert (await place.start("--upstream", upstream.url))[0] == 0
        yield place
        ollama.release.set()
        await place.run("stop", "--now")


async def test_clients_and_running_calls_notice_nothing(place: Place) -> None:
    kept = await place.client()
    await call(kept, "before")
    slow = await place.slow_call()
    before = await place.pid()

    code, out, err = await place.run("restart")
    assert (code, err) == (0, "")
    after = await place.pid()
    assert after != before
    assert f"It took over from process {before}" in out and "1 call ran there" in out

    await call(kept, "after")  # over the same connection
    place.ollama.release.set()
    assert (await slow.read_message())[1] == ANSWER
    await call(slow, "behind it")
    await gone(before)
    await place.recorded("before", "slow", "after", "behind it")
    status = await place.status()
    assert (status["pid"], status["total_requests"], status["success_rate"]) == (after, 4, 100.0)


async def test_what_was_read_of_a_next_request_is_not_lost(place: Place) -> None:
    """Half of its head is with the old process, the other half comes to the new one."""
    client = await place.client()
    await call(client, "first")
    request = b"POST /api/generate HTTP/1.1\r\nHost: localhost\r\nContent-Length: 30\r\n\r\n"
    await client.send(request[:40])
    assert (await place.run("restart"))[0] == 0
    await client.send(request[40:] + b'{"model":"m","prompt":"halves"')
    assert (await client.read_message())[1] == ANSWER


async def test_restarts_one_after_the_other_form_a_chain(place: Place) -> None:
    slow = await place.slow_call()
    for _ in range(2):
        assert (await place.run("restart"))[0] == 0
    place.ollama.release.set()
    assert (await slow.read_message())[1] == ANSWER
    await call(slow, "behind it")
    await place.recorded("slow", "behind it")


async def test_what_ran_in_a_process_that_was_killed_is_interrupted(place: Place) -> None:
    slow = await place.slow_call()
    before = await place.pid()
    assert (await place.run("restart"))[0] == 0
    os.kill(before, signal.SIGKILL)
    await slow.closed()
    await place.recorded("slow", state="interrupted")
    assert place.stored()["slow"] == ("interrupted", "crash")


async def test_the_old_one_serves_again_if_the_new_one_was_killed(place: Place) -> None:
    """As long as it lives: nobody is refused, all is recorded, and it can be restarted again."""
    await call(await place.client(), "at the old one")
    slow = await place.slow_call()
    old = await place.pid()
    assert (await place.run("restart"))[0] == 0
    new = await place.pid()
    await call(await place.client(), "at the new one")
    async with asyncio.timeout(PATIENCE):
        while "at the new one" not in place.stored():
            await asyncio.sleep(0.05)
    os.kill(new, signal.SIGSTOP)  # so that it is sure who answers from now on
    waiting = await place.client()
    os.kill(new, signal.SIGKILL)
    for client, prompt in ((waiting, "it waited"), (await place.client(), "at the old one again")):
        await call(client, prompt)
    async with asyncio.timeout(PATIENCE):
        while (status := await place.status())["pid"] != old:
            await asyncio.sleep(0.05)
    assert status["active_requests"] == 1  # its pages are there, too
    place.ollama.release.set()
    assert (await slow.read_message())[1] == ANSWER
    prompts = ["at the old one", "at the new one", "slow", "it waited", "at the old one again"]
    await place.recorded(*prompts)
    assert (await place.status())["total_requests"] == len(prompts)
    assert "has ended: this one goes on" in (await place.run("logs"))[1]

    assert (await place.run("restart"))[0] == 0
    await gone(old)
    await call(await place.client(), "at the third one")
    await place.recorded(*prompts, "at the third one")


async def test_a_kill_while_clients_are_handed_on_leaves_none_waiting(place: Place) -> None:
    """Each is served here, or closed: it was on its way to the other one, or there already."""
    old = await place.pid()
    stays = await place.client()
    lines = [("Host", "localhost"), ("Content-Length", "100")]
    await stays.send(head_bytes("POST /api/generate HTTP/1.1", lines) + b"{")  # an upload's begin
    clients = [await place.slow_call() for _ in range(40)]
    async with asyncio.timeout(PATIENCE):
        while (await place.status())["active_requests"] != len(clients) + 1:
            await asyncio.sleep(0.05)
    assert (await place.run("restart"))[0] == 0
    new = await place.pid()
    place.ollama.release.set()
    for client in clients[:10]:
        assert (await client.read_message())[1] == ANSWER
    os.kill(new, signal.SIGKILL)
    for client in clients[10:]:
        assert (await client.read_message())[1] == ANSWER
    for client in clients:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            await call(client, "behind it")
    assert await place.pid() == old
    await call(await place.client(), "a new one")


async def test_where_its_pages_cannot_be_opened_again_calls_go_on(tmp_path: Path) -> None:
    """They say so, and settings are read again all the same."""
    ollama, file = Ollama(), tmp_path / "config.toml"
    file.touch()
    async with ScriptedUpstream(ollama) as upstream:
        place = Place(tmp_path / "data", ollama)
        await place.start("--upstream", upstream.url, "--config", str(file))
        slow = await place.slow_call()
        assert (await place.run("restart"))[0] == 0
        new = await place.pid()
        os.kill(new, signal.SIGSTOP)
        with sqlite3.connect(place.folder / DATABASE) as database:
            database.execute("DROP TABLE flips")
        os.kill(new, signal.SIGKILL)
        await call(await place.client(), "it goes on")
        asking = await place.client()
        await asking.send(head_bytes("GET /admin/api/status HTTP/1.1", [("Host", "localhost")]))
        head, body = await asking.read_message()
        assert head.startswith(b"HTTP/1.1 503 ") and b"closed until a restart" in body
        await asking.closed()
        file.write_text("[alerts.rules.ollama_down]\n")
        code, out, err = await place.run("config", "reload")
        assert (code, err) == (0, "") and "alerts.rules: changed" in out
        ollama.release.set()
        assert (await slow.read_message())[1] == ANSWER
        await place.run("stop", "--now")


async def test_of_a_chain_each_older_one_serves_again(place: Place) -> None:
    slow = await place.slow_call()
    chain = [await place.pid()]
    for _ in range(2):
        assert (await place.run("restart"))[0] == 0
        chain.append(await place.pid())
    while len(chain) > 1:
        os.kill(chain.pop(), signal.SIGKILL)
        await call(await place.client(), f"answered by one of {len(chain)}")
        async with asyncio.timeout(PATIENCE):
            while await place.pid() != chain[-1]:
                await asyncio.sleep(0.05)
    place.ollama.release.set()
    assert (await slow.read_message())[1] == ANSWER
    await call(slow, "behind it")


async def test_what_was_stopped_is_not_taken_up_by_the_old_one(place: Place) -> None:
    slow = await place.slow_call()
    old = await place.pid()
    assert (await place.run("restart"))[0] == 0
    assert (await place.run("stop", "--now"))[0] == 0
    await slow.closed()
    await gone(old)
    with pytest.raises(ConnectionRefusedError):
        await place.client()
    await place.recorded("slow", state="interrupted")


async def test_while_it_stops_calls_are_refused_though_the_old_one_still_runs(place: Place) -> None:
    """It has the same sockets: whoever connects is not to wait for nobody."""
    slow = await place.slow_call()
    assert (await place.run("restart"))[0] == 0
    os.kill(await place.pid(), signal.SIGTERM)
    async with asyncio.timeout(PATIENCE):
        while True:
            try:
                await (await place.client()).close()
            except ConnectionRefusedError:
                break
            await asyncio.sleep(0.02)
    place.ollama.release.set()
    assert (await slow.read_message())[1] == ANSWER


def taking(place: Place) -> Link:
    """A process that begins to take over."""
    link = connect(place.folder)
    link.limit(PATIENCE)
    link.ask(Hello(PROTOCOL, os.getpid()), Listening)
    return link


async def test_clients_are_left_to_a_third_process_that_has_the_folder(place: Place) -> None:
    """The one that took over has ended, and this one cannot go on: whoever is connected here, idle,
    is not kept waiting for nobody."""
    slow = await place.slow_call()
    old = await place.pid()
    link = await asyncio.to_thread(taking, place)
    await asyncio.to_thread(link.ask, Give(), Given)
    await asyncio.to_thread(link.ask, Taken([]), Done)
    with kept_free(place.folder / DATABASE):
        link.close()
        async with asyncio.timeout(PATIENCE):
            while "another one has the folder" not in (await place.run("logs"))[1]:
                with contextlib.suppress(ConnectionRefusedError):
                    await (await place.client()).closed()
        with pytest.raises(ConnectionRefusedError):
            await place.client()
        place.ollama.release.set()
        assert (await slow.read_message())[1] == ANSWER
        await slow.closed()
        await gone(old)


@pytest.mark.parametrize("given", [False, True])
async def test_one_that_ends_before_it_took_over_changes_nothing(place: Place, given: bool) -> None:
    pid = await place.pid()
    slow = await place.slow_call()
    link = await asyncio.to_thread(taking, place)
    if given:
        left = await asyncio.to_thread(link.ask, Give(), Given)
        assert [call.prompt for call in left.left] == ["slow"]
        code, out, _ = await place.run("start")
        assert code == 0 and f"it runs already: process {pid}" in out
    assert await place.pid() == pid
    await call(await place.client(), "meanwhile")
    link.close()
    await call(await place.client(), "after")
    place.ollama.release.set()
    await slow.read_message()
    await place.recorded("slow", "meanwhile", "after")
    assert await place.pid() == pid
    assert (await place.run("restart"))[0] == 0
    assert await place.pid() != pid


async def test_a_stop_waits_until_a_handover_is_over(tmp_path: Path) -> None:
    """And ends whoever serves then: here nobody."""
    lock = claim_handover(tmp_path / DATABASE)
    stop = await start(["stop", "--data-dir", str(tmp_path)], {})
    assert stop.stdout is not None
    async with asyncio.timeout(PATIENCE):
        assert (await stop.stdout.readline()).startswith(b"it is being restarted")
        release(lock)
        assert (await stop.stdout.readline()).startswith(b"it does not run")
        assert await stop.wait() == 0


async def test_another_version_of_the_handover_is_refused(place: Place) -> None:
    link = connect(place.folder)
    with pytest.raises(Refusal, match="another version"):
        await asyncio.to_thread(link.ask, Hello(PROTOCOL + 1, os.getpid()), Listening)
    link.close()
    await call(await place.client(), "after")


@pytest.mark.parametrize("pid", [-1, 0, 1])
async def test_who_names_another_process_than_itself_is_refused(place: Place, pid: int) -> None:
    """The one named might be killed, if it did not take over in time."""
    link = connect(place.folder)
    with pytest.raises(Refusal, match="another process"):
        await asyncio.to_thread(link.ask, Hello(PROTOCOL, pid), Listening)
    link.close()
    await call(await place.client(), "after")


async def test_of_two_restarts_at_once_one_takes_over(place: Place) -> None:
    before = await place.pid()
    one, other = sorted(await asyncio.gather(place.run("restart"), place.run("restart")))
    assert one[0] == 0
    assert other[0] == 0 or "try again" in other[2]
    assert await place.pid() != before
    await gone(before)
    await call(await place.client(), "after")


async def test_a_port_in_use_leaves_the_old_one_as_it_was(place: Place) -> None:
    pid = await place.pid()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        code, out, err = await place.run("restart", str(port))
    assert (code, out) == (1, "")
    assert f"port {port} on 127.0.0.1 is in use" in err
    assert f"process {pid} goes on as it was" in err
    await call(await place.client(), "after")
    assert await place.pid() == pid


async def test_at_another_port_the_old_one_is_served_until_its_process_ends(place: Place) -> None:
    slow = await place.slow_call()
    other = Here(place.folder).port
    code, out, _ = await place.run("restart", str(other))
    assert code == 0 and f"http://127.0.0.1:{place.port} is given up" in out
    at_old, at_new = await place.client(), await place.client(other)
    await call(at_old, "at the old port")
    await call(at_new, "at the new port")
    place.ollama.release.set()
    await slow.read_message()
    await call(at_old, "over the old connection")
    await place.recorded("slow", "at the old port", "at the new port", "over the old connection")


async def test_its_socket_is_private_and_ends_with_it(place: Place) -> None:
    file = place.folder / FILE
    assert file.stat().st_mode & 0o777 == 0o600
    await place.run("restart")
    assert file.stat().st_mode & 0o777 == 0o600
    await place.run("stop")
    assert not file.exists()


async def test_calls_that_take_too_long_are_ended_by_the_old_one(tmp_path: Path) -> None:
    ollama = Ollama()
    async with ScriptedUpstream(ollama) as upstream:
        place = Place(tmp_path / "data", ollama)
        await place.start("--upstream", upstream.url, "--timeouts-drain", "0.1")
        slow = await place.slow_call()
        before = await place.pid()
        assert (await place.run("restart"))[0] == 0
        with pytest.raises(asyncio.IncompleteReadError):
            await slow.read_message()
        await gone(before)
        await place.recorded("slow", state="interrupted")
        assert place.stored()["slow"] == ("interrupted", "shutdown")
        await place.run("stop", "--now")
