"""What a notifier is told, and how it says that it could not pass it on. Pure.

Not here: in which words (`admin/alert_words.py`), the notifiers.
"""

from __future__ import annotations

import json
from typing import Any, Protocol

import msgspec

from ollama_proxy.records import Flip


class Message(msgspec.Struct, frozen=True):
    """A flip, or a test of one; `title` and `text` are one line each, without control and direction
    characters. What services make of other characters is theirs: each notifier escapes."""

    flip: Flip
    title: str
    text: str
    test: bool = False

    @property
    def firing(self) -> bool:
        return self.flip.new == "firing"

    @property
    def line(self) -> str:
        return f"{self.title}: {self.text}"

    def as_json(self) -> bytes:
        """The flip's fields, `title`, `text` and `test`, in ASCII."""
        return json.dumps(self.facts()).encode()

    def facts(self) -> dict[str, Any]:
        told = {"title": self.title, "text": self.text, "test": self.test}
        return msgspec.structs.asdict(self.flip) | told


class NotifyError(Exception):
    """It was not passed on. The text is one line with cause and remedy, and no secret. `again`:
    it may work later."""

    def __init__(self, text: str, *, again: bool = True) -> None:
        super().__init__(text)
        self.again = again


class Notifier(Protocol):
    """Passes a message on. `seconds`: how long that may take; it is cancelled then."""

    @property
    def seconds(self) -> float: ...

    async def send(self, message: Message) -> None:
        """Raises NotifyError."""
