"""A request that was recorded gets the recorded answer: its bytes in order, its times, its end."""

from __future__ import annotations

import asyncio
import hashlib
import socket
from pathlib import Path

import pytest

from ollama_proxy.recording import Framing, Recording, Request, Response
from ollama_proxy.simulator.__main__ import main
from ollama_proxy.simulator.playing import Player, load, pieces
from tests.harness import WIRE, recorded_request, recorded_response, recording, recordings

from .raw import PATIENCE, Client, simulated

FRAMED = {"chunked": [("Transfer-Encoding", "chunked")], "length": [("Content-Length", "6")]}


def recorded(
    body: str = '{"a": 1}',
    *texts: str,
    framing: Framing = "chunked",
    complete: bool = True,
    headers: list[tuple[str, str]] | None = None,
    method: str = "POST",
    target: str = "/api/chat",
) -> Recording:
    """One whose pieces come 100, 300, 600, ... ms after the request."""
    chunks = [(50.0 * n * (n + 1), text) for n, text in enumerate(texts or ("one", "two"), 1)]
    framed = FRAMED.get(framing, []) if headers is None else headers
    answer = Response(200, "Fine", framed, framing, complete, chunks)
    return Recording("one", Request(method, target, [], body), answer)


def at_once(*played: Recording) -> Player:
    return Player(played, speed=0)


async def sent(client: Client, raw: bytes) -> bytes:
    """All that comes back, up to the end of the connection."""
    connection = await client.open(raw)
    async with asyncio.timeout(PATIENCE):
        return await connection.reader.read()


def request(body: str = '{"a": 1}', version: str = "1.1", close: bool = True) -> bytes:
    head = f"POST /api/chat HTTP/{version}\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n"
    return (head + ("Connection: close\r\n" if close else "") + "\r\n" + body).encode()


# -- what was recorded comes back -----------------------------------------------------------


@pytest.mark.parametrize("name", recordings())
async def test_what_a_real_ollama_said_comes_back_byte_for_byte(name: str) -> None:
    exchange = recording(name)
    expected = recorded_response(exchange)
    if exchange["response"]["framing"] == "chunked":
        assert expected.endswith(b"0\r\n\r\n")
    async with simulated(player=Player(load([str(WIRE / f"{name}.json")]), speed=0)) as client:
        for _ in range(2):
            connection = await client.open(recorded_request(exchange))
            async with asyncio.timeout(PATIENCE):
                assert await connection.reader.readexactly(len(expected)) == expected
            connection.close()


async def test_a_connection_serves_one_after_another() -> None:
    async with simulated(player=at_once(recorded())) as client:
        answers = await sent(client, request(close=False) * 2 + request())
    assert answers.count(b"3\r\none\r\n3\r\ntwo\r\n0\r\n\r\n") == 3


@pytest.mark.parametrize("headers", [[("Connection", "close")], [("connection", "Close")]])
async def test_a_connection_ends_where_the_recorded_answer_says_so(
    headers: list[tuple[str, str]],
) -> None:
    played = recorded(framing="length", headers=[*FRAMED["length"], *headers])
    async with simulated(player=at_once(played)) as client:
        assert (await sent(client, request(close=False) * 2)).count(b"onetwo") == 1


@pytest.mark.parametrize("framing", ["chunked", "length"])
async def test_where_the_recording_broke_off_the_answer_does(framing: Framing) -> None:
    played = recorded(framing=framing, complete=False)
    async with simulated(player=at_once(played)) as client:
        answer = await sent(client, request(close=False))
    assert answer.endswith(b"3\r\ntwo\r\n" if framing == "chunked" else b"onetwo")


async def test_an_answer_that_ends_with_its_connection() -> None:
    async with simulated(player=at_once(recorded(framing="close"))) as client:
        answer = await sent(client, request(close=False))
    assert answer == b"HTTP/1.1 200 Fine\r\n\r\nonetwo"


async def test_one_that_broke_off_there_is_reset() -> None:
    async with simulated(player=at_once(recorded(framing="close", complete=False))) as client:
        with pytest.raises(ConnectionResetError):
            await sent(client, request())


async def test_a_client_of_http_1_0_gets_no_chunks() -> None:
    async with simulated(player=at_once(recorded())) as client:
        answer = await sent(client, request(version="1.0", close=False))
    assert answer == b"HTTP/1.1 200 Fine\r\n\r\nonetwo"


def test_no_piece_of_no_bytes_ends_a_body() -> None:
    parts = b"".join(data for _, data in pieces(recorded("", "a", "", "b")))
    assert parts.endswith(b"\r\n\r\n1\r\na\r\n1\r\nb\r\n0\r\n\r\n")


# -- when -----------------------------------------------------------------------------------


class Clock:
    """Goes on only by sleeping, which takes no time; what was asked for is noted."""

    def __init__(self) -> None:
        self.now = 100.0
        self.asked: list[float] = []

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.asked.append(round(seconds, 9))
        self.now += seconds


@pytest.mark.parametrize(
    ("speed", "asked"), [(1, [0.1, 0.2, 0.3, 0]), (2, [0.05, 0.1, 0.15, 0]), (0, [0, 0, 0, 0])]
)
async def test_each_piece_waits_for_its_time(speed: float, asked: list[float]) -> None:
    """The end of the body is a piece of its own, right after the last one."""
    clock = Clock()
    player = Player([recorded('{"a": 1}', "a", "b", "c")], speed, clock=clock, sleep=clock.sleep)
    async with simulated(player=player) as client:
        await sent(client, request())
    assert clock.asked == asked


async def test_what_is_late_is_not_waited_for() -> None:
    clock = Clock()

    async def oversleep(seconds: float) -> None:
        await clock.sleep(seconds)
        clock.now += 0.25

    player = Player([recorded('{"a": 1}', "a", "b", "c")], clock=clock, sleep=oversleep)
    async with simulated(player=player) as client:
        await sent(client, request())
    assert clock.asked == [0.1, 0, 0, 0]


async def test_a_client_that_leaves_ends_the_playing() -> None:
    waits, ended = asyncio.Event(), asyncio.Event()

    async def sleep(seconds: float) -> None:
        waits.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    async with simulated(player=Player([recorded()], sleep=sleep)) as client:
        connection = await client.open(request())
        async with asyncio.timeout(PATIENCE):
            await waits.wait()
            connection.close()
            await ended.wait()


# -- which ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("known", "asked", "equal"),
    [
        ('{"a": 1, "b": [true, null]}', '{ "b":[true,null],"a":1.0 }', True),
        ('{"a": "è"}', '{"a": "\\u00e8"}', True),
        ('{"a": 1}', '{"a": true}', False),
        ('{"a": 1}', '{"a": "1"}', False),
        ('{"a": [1, 2]}', '{"a": [2, 1]}', False),
        ('{"a": 1}', '{"a": 1, "b": 2}', False),
        ("not { json", "not { json", True),
        ("not { json", "not {  json", False),
        ("", "", True),
        ("[" * 100_000, "[" * 100_000, True),
    ],
)
def test_bodies_are_compared_as_values_or_as_bytes(known: str, asked: str, equal: bool) -> None:
    found = at_once(recorded(known)).next("POST", "/api/chat", asked.encode())
    assert (found is not None) is equal


@pytest.mark.parametrize(
    ("method", "target", "equal"),
    [
        ("POST", "/api/chat?now=1", True),
        ("POST", "http://elsewhere/api/chat", True),
        ("POST", "/api/%63hat", True),
        ("PUT", "/api/chat", False),
        ("POST", "/api/chat/", False),
    ],
)
def test_method_and_path_must_be_equal_too(method: str, target: str, equal: bool) -> None:
    found = at_once(recorded()).next(method, target, b'{"a": 1}')
    assert (found is not None) is equal


def test_several_of_one_request_are_played_in_turn_the_last_one_again() -> None:
    played = [recorded('{"a": 1}', text) for text in ("first", "second", "third")]
    other = recorded('{"a": 2}', "other")
    player = at_once(*played, other)
    found = [player.next("POST", "/api/chat", b'{"a":1}') for _ in range(5)]
    assert found == [*played, played[2], played[2]]
    assert player.next("POST", "/api/chat", b'{"a": 2}') is other


@pytest.mark.parametrize("content", [b"recorded", b"other"])
async def test_every_other_request_is_served_as_usual(content: bytes) -> None:
    """Also where the body had to be read to be compared."""
    digest = "sha256:" + hashlib.sha256(b"other").hexdigest()
    blob = recorded("recorded", method="POST", target=f"/api/blobs/{digest}")
    async with simulated(player=at_once(recorded(), blob)) as client:
        assert (await client.ask("GET /api/version")).json() == {"version": "0.0.0"}
        said = await client.ask("/api/chat", {"model": "smollm2", "messages": []})
        assert said.json()["done"] is True
        head = f"POST /api/blobs/{digest} HTTP/1.1\r\nHost: localhost\r\n"
        raw = f"{head}Content-Length: {len(content)}\r\n\r\n".encode() + content
        answer = await (await client.open(raw)).response()
    assert (answer.status, answer.body) == ((201, b"") if content == b"other" else (200, b"onetwo"))


async def test_a_form_is_left_to_its_route() -> None:
    played = recorded("x", target="/v1/audio/transcriptions")
    form = (
        '--b\r\nContent-Disposition: form-data; name="model"\r\n\r\nsmollm2\r\n--b\r\n'
        'Content-Disposition: form-data; name="file"; filename="a.wav"\r\n\r\nRIFF\r\n--b--\r\n'
    )
    head = "POST /v1/audio/transcriptions HTTP/1.1\r\nHost: localhost\r\n"
    head += f"Content-Type: multipart/form-data; boundary=b\r\nContent-Length: {len(form)}\r\n\r\n"
    async with simulated(player=at_once(played)) as client:
        answer = await (await client.open((head + form).encode())).response()
    assert (answer.status, "text" in answer.json()) == (200, True)


# -- files ----------------------------------------------------------------------------------


def save(folder: Path, name: str, *texts: str) -> Path:
    path = folder / name
    path.write_text(recorded('{"a": 1}', *texts).to_json())
    return path


def test_a_folder_stands_for_its_recordings_in_the_order_of_their_names(tmp_path: Path) -> None:
    folder = tmp_path / "many"
    folder.mkdir()
    for name in ("b", "a", "c"):
        save(folder, f"{name}.json", name)
    (folder / "README.md").write_text("not one")
    one = save(tmp_path, "z.txt", "z")
    found = [one.response.chunks[0][1] for one in load([str(one), str(folder)])]
    assert found == ["z", "a", "b", "c"]


@pytest.mark.parametrize(
    ("name", "text", "why"),
    [
        ("none.json", None, "No such file or directory: check its name"),
        ("bad.json", '{"error": "not kept"}', "unknown field `error`: mend it, or save it again"),
        ("bad.json", "curl -X POST", "JSON is malformed"),
        ("empty/x.txt", "x", "empty: there is no *.json in this folder: save recordings in it"),
    ],
)
def test_a_bad_file_is_told_in_a_line(
    name: str, text: str | None, why: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    if text is not None:
        path.write_text(text)
    place = path.parent if path.suffix == ".txt" else path
    with pytest.raises(SystemExit) as exited:
        main(["--play", str(save(tmp_path, "good.json")), "--play", str(place)])
    said = capsys.readouterr().err
    assert (exited.value.code, said.count("\n")) == (2, 1)
    assert said.startswith("error: ") and str(place) in said and why in said


@pytest.mark.parametrize("speed", ["-1", "fast", "nan", "inf"])
def test_a_speed_that_is_none(speed: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exited:
        main(["--speed", speed])
    assert exited.value.code == 2
    assert "--speed" in capsys.readouterr().err


@pytest.mark.parametrize("listen", ["foo", "127.0.0.1:99999", "127.0.0.1:x"])
def test_an_address_that_is_none_is_told_in_one_line(
    listen: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main(["--listen", listen])
    assert f"{listen}: expected HOST:PORT" in capsys.readouterr().err.splitlines()[-1]


def test_a_port_that_is_taken_is_told_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(SystemExit) as ended:
        main(["--listen", f"127.0.0.1:{taken.getsockname()[1]}"])
    assert ended.value.code == 2
    error = capsys.readouterr().err
    assert error.startswith("error: cannot listen on 127.0.0.1:") and error.count("\n") == 1
