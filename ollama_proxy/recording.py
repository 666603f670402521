"""The form of a recorded call: what a client sent, and what came back when. Pure.

`replay.py` makes one of a captured call, the simulator plays it (`simulator/playing.py`), and the
files in `tests/wire` are some; `docs/replay.md` tells the form. Not here: what is captured, files.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

# What would end a line, or is refused in one, cannot be played.
Line = Annotated[str, Meta(pattern=r"\A[^\x00-\x08\x0a-\x1f\x7f]*\Z")]
Token = Annotated[str, Meta(pattern=r"\A[!#$%&'*+.^_`|~0-9A-Za-z-]+\Z")]
Milliseconds = Annotated[float, Meta(ge=0)]
Framing = Literal["chunked", "length", "close"]
Headers = list[tuple[str, str]]


class Request(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """What the client sent: `target` as in the request's first line, the body as text."""

    method: Token
    target: Line
    headers: list[tuple[Token, Line]]
    body: str


class Response(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """What came back. `chunks`: each with its time since the request was sent.

    `framing` says where the body ends: `chunked`, `length`, or `close` (with its connection).
    `complete` False: the connection ended before the body did.
    """

    status: Annotated[int, Meta(ge=200, le=999)]
    reason: Line
    headers: list[tuple[Token, Line]]
    framing: Framing
    complete: bool
    chunks: list[tuple[Milliseconds, str]]

    def header(self, name: str) -> str | None:
        """The value of the header whose name, in lower case, this is."""
        found = (value for one, value in self.headers if one.lower() == name)
        return next(found, None)

    @property
    def length(self) -> int:
        """Bytes of the body."""
        return sum(len(text.encode()) for _, text in self.chunks)


class Recording(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """One call."""

    name: str
    request: Request
    response: Response

    @classmethod
    def from_json(cls, data: bytes) -> Recording:
        """Raises ValueError with one line that names the key and says what is wrong with it."""
        try:
            recording = msgspec.json.decode(data, type=cls)
        except msgspec.MsgspecError as error:
            raise ValueError(str(error)) from None
        if problem := recording.problem:
            raise ValueError(problem)
        return recording

    def to_json(self) -> str:
        return msgspec.json.format(msgspec.json.encode(self), indent=1).decode() + "\n"

    @property
    def without_body(self) -> bool:
        """Whether such an answer has none, whatever its headers say (RFC 9112, section 6.3)."""
        return self.request.method == "HEAD" or self.response.status in (204, 304)

    @property
    def problem(self) -> str | None:
        """Why a client would take this answer for another one, in a line; None if it would not."""
        response = self.response
        if self.without_body:
            return "$.response.chunks: such an answer has no body" if response.length else None
        chunked = "chunked" in (response.header("transfer-encoding") or "").lower()
        if chunked is not (response.framing == "chunked"):
            return (
                f"$.response.framing is {response.framing}, but its headers "
                f"{'have' if chunked else 'lack'} Transfer-Encoding: chunked"
            )
        told = response.header("content-length")
        if response.framing == "length" and response.complete and told != str(response.length):
            told = "lack Content-Length" if told is None else f"say Content-Length: {told}"
            return f"$.response.headers {told}, and the body has {response.length} bytes"
        return None
