"""Plays recorded answers: a request that equals a recorded one gets what that one got, and when.

Equal are method, path and body; JSON bodies are compared as values, so neither the order of keys
nor blanks matter. Of several recordings of one request each is played in turn, the last one again
and again. Not here: the form of a recording (`recording.py`), what other requests get (`app.py`).
"""

from __future__ import annotations

import asyncio
import json
import socket
import struct
import time
from collections import defaultdict, deque
from collections.abc import Awaitable, Callable, Iterable, Iterator
from pathlib import Path
from urllib.parse import unquote

from aiohttp import web

from ollama_proxy.recording import Recording

_RESET = struct.pack("ii", 1, 0)  # SO_LINGER: on, no seconds
Key = tuple[str, str, str | bytes]


class Unplayable(Exception):
    """Recordings cannot be read: the text is one line, with the file, the cause and the remedy."""


class Played(web.StreamResponse):
    """Tells aiohttp that the answer is already on the wire."""

    def __init__(self, keep_alive: bool) -> None:
        super().__init__()
        self._stays_open = keep_alive

    @property
    def keep_alive(self) -> bool:
        return self._stays_open

    async def prepare(self, request: web.BaseRequest) -> None:
        return None

    async def write_eof(self, data: bytes = b"") -> None:
        return None


class Player:
    """Recordings, and whose turn it is. `speed` 2: in half the time; 0: at once."""

    def __init__(
        self,
        recordings: Iterable[Recording] = (),
        speed: float = 1.0,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._speed, self._clock, self._sleep = speed, clock, sleep
        self._turns: defaultdict[Key, deque[Recording]] = defaultdict(deque)
        for one in recordings:
            asked = one.request
            self._turns[_key(asked.method, asked.target, asked.body.encode())].append(one)
        self._places = {(method, path) for method, path, _ in self._turns}

    def __len__(self) -> int:
        """How many recordings have not been passed by."""
        return sum(map(len, self._turns.values()))

    def next(self, method: str, target: str, body: bytes) -> Recording | None:
        """What this request is answered with now; None: there is no recording of it."""
        turns = self._turns.get(_key(method, target, body))
        if turns is None:
            return None
        return turns.popleft() if len(turns) > 1 else turns[0]

    async def answer(self, request: web.Request) -> web.StreamResponse | None:
        """Play what was recorded of this request; None, and nothing is sent, where nothing was.

        Raises ConnectionError if the client leaves meanwhile.
        """
        began = self._clock()
        if (request.method, path_of(request.raw_path)) not in self._places:
            return None
        if request.content_type.startswith("multipart/"):  # never equal: its boundary is random
            return None
        recording = self.next(request.method, request.raw_path, await request.read())
        return None if recording is None else await self._play(recording, request, began)

    async def _play(
        self, recording: Recording, request: web.Request, began: float
    ) -> web.StreamResponse:
        client, http_10 = request.transport, request.version < (1, 1)
        for seconds, data in pieces(recording, http_10):
            await self._until(began + seconds / self._speed if self._speed else began)
            if client is None or client.is_closing():
                raise ConnectionResetError
            client.write(data)
            request.writer.output_size += len(data)
            await request.writer.drain()
        if client is not None and not recording.response.complete:
            _break_off(client, recording.response.framing)
        return Played(request.keep_alive and stays_open(recording, http_10))

    async def _until(self, moment: float) -> None:
        """Other connections have their turn even where nothing is waited for."""
        await self._sleep(max(0.0, moment - self._clock()))


def load(places: Iterable[str]) -> list[Recording]:
    """The recordings in these files, and in the *.json of these folders. Raises Unplayable."""
    return [_read(file) for place in places for file in _files(Path(place))]


def _files(place: Path) -> list[Path]:
    if not place.is_dir():
        return [place]
    files = sorted(place.glob("*.json"))
    if not files:
        raise Unplayable(f"{place}: there is no *.json in this folder: save recordings in it")
    return files


def _read(file: Path) -> Recording:
    try:
        return Recording.from_json(file.read_bytes())
    except OSError as error:
        raise Unplayable(f"{file}: {error.strerror}: check its name and rights") from None
    except ValueError as error:
        raise Unplayable(
            f"{file} is no recording: {error}: mend it, or save it again from "
            "/api/requests/{id}/replay?as=recording"
        ) from None


def _key(method: str, target: str, body: bytes) -> Key:
    return method, path_of(target), comparable(body)


def path_of(target: str) -> str:
    """A target's path, without its query, which is never recorded."""
    path = target.partition("?")[0]
    if "://" in path and not path.startswith("/"):
        path = "/" + path.partition("://")[2].partition("/")[2]
    return unquote(path)


def comparable(body: bytes) -> str | bytes:
    """Something that is equal for equal bodies: JSON in one spelling, any other body as it is."""
    try:
        return json.dumps(json.loads(body, parse_float=_number), sort_keys=True)
    except (ValueError, RecursionError):
        return body


def _number(digits: str) -> float | int:
    number = float(digits)
    return int(number) if number.is_integer() else number


def pieces(recording: Recording, http_10: bool = False) -> Iterator[tuple[float, bytes]]:
    """The answer's bytes with their seconds; the head goes with the first of the body.

    A client of HTTP/1.0 knows no chunks: for it the body ends with the connection.
    """
    response = recording.response
    chunked = response.framing == "chunked" and not http_10
    waiting, seconds = _head(recording, http_10), 0.0
    for milliseconds, text in response.chunks:
        if data := text.encode():
            seconds = milliseconds / 1000
            yield seconds, waiting + (b"%x\r\n%b\r\n" % (len(data), data) if chunked else data)
            waiting = b""
    if chunked and response.complete and not recording.without_body:
        waiting += b"0\r\n\r\n"
    if waiting:
        yield seconds, waiting


def _head(recording: Recording, http_10: bool) -> bytes:
    response = recording.response
    lines = [f"HTTP/1.1 {response.status} {response.reason}"]
    lines += [
        f"{name}: {value}"
        for name, value in response.headers
        if not (http_10 and name.lower() == "transfer-encoding")
    ]
    return "\r\n".join(lines).encode() + b"\r\n\r\n"


def stays_open(recording: Recording, http_10: bool = False) -> bool:
    """Whether another answer may follow on the same connection."""
    response = recording.response
    ends = response.framing == "close" or (response.framing == "chunked" and http_10)
    closes = "close" in (response.header("connection") or "").lower()
    return response.complete and not closes and (recording.without_body or not ends)


def _break_off(client: asyncio.Transport, framing: str) -> None:
    """End the connection so that the client sees that more should have come."""
    found = client.get_extra_info("socket")
    if framing == "close" and found is not None:  # there a clean end would be the body's
        found.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    client.close()
