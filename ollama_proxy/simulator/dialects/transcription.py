"""/v1/audio/transcriptions: nothing until the end, then one JSON object or plain text.

Not here: the multipart form; the route puts its fields into a `Body`. No audio is listened to.
"""

from __future__ import annotations

from typing import ClassVar

from .. import wire
from ..calls import Body, Call, Message, Refused
from ..script import Piece
from .base import Answer, Dialect
from .openai import error_object


class Transcription(Dialect):
    # Ollama flushes its headers before this dialect could set a better type.
    stream_headers: ClassVar[dict[str, str]] = {"Content-Type": wire.NDJSON}

    def __init__(self, call: Call, body: Body) -> None:
        super().__init__(call, body)
        self.text = ""

    @staticmethod
    def read(body: Body) -> Call:
        if not body.text("model"):
            raise Refused(400, "model is required")
        system = Message("system", "Transcribe the audio exactly as spoken.")
        return Call(model=body.text("model"), messages=[system, Message("user", "", 1)])

    @staticmethod
    def error(status: int, message: str) -> bytes:
        return error_object(status, message)

    def piece(self, piece: Piece) -> list[bytes]:
        self.text += piece.content
        return []

    def end(self, answer: Answer) -> list[bytes]:
        return [self.whole(Answer(content=self.text))]

    def broken(self, message: str) -> list[bytes]:
        return []

    def whole(self, answer: Answer) -> bytes:
        text = answer.content.strip()
        plain = self.body.text("response_format") == "text"
        return text.encode() if plain else wire.encode({"text": text}) + b"\n"
