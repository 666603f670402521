"""A captured call in forms that make it happen again: curl, Python, a recording. Pure.

Not here: what is captured and when (`observers/capturing.py`), where captures are stored, the form
of a recording (`recording.py`).
"""

from __future__ import annotations

import base64
import codecs
import shlex
import string
from collections.abc import Callable
from urllib.parse import quote

import msgspec

from ollama_proxy.recording import Framing, Headers, Recording, Request, Response

INLINE_BYTES = 100_000
"""A longer argument is refused by Linux (128 KiB, MAX_ARG_STRLEN)."""
PIECE_BYTES = 100
"""About what a piece takes in memory beside its bytes."""
# A replay's own client says who it is, what it accepts and how long its body is.
_OWN_HEADERS = frozenset(
    {"host", "connection", "content-length", "transfer-encoding", "expect"}
    | {"user-agent", "accept-encoding"}
)
_PRINTED = string.ascii_letters + string.digits + string.punctuation


class ReplayError(Exception):
    """This form of this call cannot be made; the text is one line that says why."""


class Capture(msgspec.Struct, kw_only=True, frozen=True):
    """What passed of one call. Headers may hold no secret and `target` no query.

    `body` None: longer than what is kept. `pieces`: the answer's body as it arrived, in seconds
    after the request was sent on. `framing` is `chunked`, `length` or `close`. `complete` False:
    the answer broke off; `cut`: nothing of it is kept, for it is too long or may not be.
    """

    id: str
    method: str
    target: str
    headers: Headers
    body: bytes | None
    status: int | None = None
    reason: str = ""
    response_headers: Headers = []
    framing: Framing = "length"
    pieces: list[tuple[float, bytes]] = []
    complete: bool = False
    cut: bool = False

    @classmethod
    def from_bytes(cls, data: bytes) -> Capture:
        """Raises msgspec.MsgspecError."""
        return msgspec.msgpack.decode(data, type=cls)

    def to_bytes(self) -> bytes:
        return msgspec.msgpack.encode(self)

    @property
    def size(self) -> int:
        """About as many bytes of memory as it takes."""
        pieces = sum(len(piece) + PIECE_BYTES for _, piece in self.pieces)
        return len(self.body or b"") + pieces


def as_curl(capture: Capture, base: str) -> str:
    """A line for a POSIX shell; a body that a terminal could trip over goes in as base64."""
    body = _body(capture)
    words = ["curl", "-sS", "-N", "--globoff", "--path-as-is"]
    words += ["--head"] if capture.method == "HEAD" else ["-X", capture.method]
    words.append(base + _quoted(capture.target))
    headers = _sent(capture)
    for name, value in headers:
        words += ["-H", f"{name}: {value}" if value else f"{name};"]
    if not body:
        return shlex.join(words) + "\n"
    if not any(name.lower() == "content-type" for name, _ in headers):
        words += ["-H", "Content-Type:"]  # else curl says that it is a form
    text = _shown(body)
    if text is not None:
        return shlex.join([*words, "--data-raw", text]) + "\n"
    encoded = base64.encodebytes(body).decode()
    return f"base64 -d <<'END' | {shlex.join([*words, '--data-binary', '@-'])}\n{encoded}END\n"


def as_python(capture: Capture, base: str) -> str:
    """A script that needs nothing but Python, and prints the answer as it comes."""
    body = _body(capture)
    return f"""import urllib.request

request = urllib.request.Request(
    {base + _quoted(capture.target)!r},
    data={body or None!r},
    headers={dict(_sent(capture))!r},
    method={capture.method!r},
)
with urllib.request.urlopen(request) as answer:
    for line in answer:
        print(line.decode(errors="replace"), end="", flush=True)
"""


def as_recording(capture: Capture, base: str) -> str:
    """What was sent, and what came back when, as JSON in the form of `recording.py`."""
    if capture.status is None:
        raise ReplayError("this call has no answer to record")
    body = _text(_body(capture))
    if capture.cut:
        raise ReplayError("of an answer that is too long, or broke off, nothing is kept")
    return Recording(
        name=capture.id,
        request=Request(capture.method, capture.target, capture.headers, body),
        response=Response(
            capture.status,
            capture.reason,
            capture.response_headers,
            capture.framing,
            capture.complete,
            _chunks(capture),
        ),
    ).to_json()


FORMS: dict[str, tuple[str, Callable[[Capture, str], str]]] = {
    "curl": ("text/plain", as_curl),
    "python": ("text/plain", as_python),
    "recording": ("application/json", as_recording),
}
"""Each form's content type, and what makes it for a proxy at a URL."""


def forms_of(capture: Capture, base: str) -> list[str]:
    """The names of the forms that can be made of it."""
    return [name for name, (_, make) in FORMS.items() if _works(make, capture, base)]


def _works(make: Callable[[Capture, str], str], capture: Capture, base: str) -> bool:
    try:
        make(capture, base)
    except ReplayError:
        return False
    return True


def _body(capture: Capture) -> bytes:
    if capture.body is None:
        raise ReplayError("the request is longer than what is kept of one")
    return capture.body


def _sent(capture: Capture) -> Headers:
    return [
        (name, value)
        for name, value in capture.headers
        if name.lower() not in _OWN_HEADERS and value.isascii() and value.isprintable()
    ]


def _quoted(target: str) -> str:
    return quote(target, safe=_PRINTED)


def _shown(body: bytes) -> str | None:
    """The body as an argument; None if it is too long for one, or not all of it is plain text."""
    try:
        text = body.decode()
    except UnicodeDecodeError:
        return None
    plain = text.replace("\n", "").isprintable()
    return text if plain and len(body) <= INLINE_BYTES else None


def _chunks(capture: Capture) -> list[tuple[float, str]]:
    """Milliseconds and text; a character that two pieces share belongs to the second."""
    pieces = capture.pieces
    if capture.framing != "chunked" and pieces:
        pieces = [(pieces[-1][0], b"".join(data for _, data in pieces))]
    decoder = codecs.getincrementaldecoder("utf-8")()
    chunks: list[tuple[float, str]] = []
    try:
        for seconds, data in pieces:
            if text := decoder.decode(data):
                chunks.append((round(seconds * 1000, 3), text))
        decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        raise ReplayError("the answer is not text, or was sent compressed") from None
    return chunks


def _text(body: bytes) -> str:
    try:
        return body.decode()
    except UnicodeDecodeError:
        raise ReplayError("the request is not text") from None
