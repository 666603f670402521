"""One answer in each dialect, worded by the simulator, which recordings hold to the real Ollama.

Not a test itself.
"""

from __future__ import annotations

import json

from ollama_proxy.observers import Privacy
from ollama_proxy.simulator.calls import Body, Message
from ollama_proxy.simulator.calls import Call as Wish
from ollama_proxy.simulator.dialects.anthropic import Messages
from ollama_proxy.simulator.dialects.base import Answer, Dialect, Metrics
from ollama_proxy.simulator.dialects.native import Chat, Generate
from ollama_proxy.simulator.dialects.openai import ChatCompletion, Completion
from ollama_proxy.simulator.dialects.responses import Responses
from ollama_proxy.simulator.script import Piece, ToolCall
from tests.observers.watching import Call

DIALECTS: dict[str, type[Dialect]] = {
    "/api/generate": Generate,
    "/api/chat": Chat,
    "/v1/chat/completions": ChatCompletion,
    "/v1/completions": Completion,
    "/v1/responses": Responses,
    "/v1/messages": Messages,
}
ALL = list(DIALECTS)
TELLING = [path for path in ALL if path != "/v1/completions"]
"""Those that tell of thinking and tool calls."""
EVENTS = [path for path in ALL if path.startswith("/v1")]
NAMED = ["/v1/responses", "/v1/messages"]
"""Those whose events have names."""
METRICS = Metrics(
    total=4_000_000_000,
    load=1_000_000_000,
    prompt_tokens=11,
    prefill=500_000_000,
    eval_tokens=3,
    decode=2_000_000_000,
)
NATIVE = "application/x-ndjson"
SSE = "text/event-stream"


def say(*texts: str) -> list[Piece]:
    return [Piece(content=text) for text in texts]


def think(*texts: str) -> list[Piece]:
    return [Piece(thinking=text) for text in texts]


def use(*names: str) -> list[Piece]:
    """Calls of these tools, with arguments that look like the marks that are searched for."""
    arguments = {"error": "x", "done": True, "tool_calls": [], "thinking": "no"}
    return [
        Piece(tool_call=ToolCall(f"call_{at}_{name}", name, arguments))
        for at, name in enumerate(names)
    ]


def dialect(path: str, stream: bool) -> Dialect:
    body = {"model": "m", "stream": stream, "stream_options": {"include_usage": True}}
    return DIALECTS[path](Wish(model="m", messages=[Message("user", "hi")]), Body(body))


def units(path: str, pieces: list[Piece], end: bool = True, reason: str = "stop") -> list[bytes]:
    """A stream, in what the server writes at a time; without its end if so wished."""
    said = dialect(path, stream=True)
    written = [data for piece in pieces for data in said.piece(piece)]
    return [*written, *(said.end(Answer(reason=reason, metrics=METRICS)) if end else [])]


def streamed(path: str, *pieces: Piece, end: bool = True, privacy: Privacy | None = None) -> Call:
    return asked(path, b"".join(units(path, list(pieces), end)), privacy)


def asked(path: str, answer: bytes, privacy: Privacy | None = None, stream: bool = True) -> Call:
    body = {"model": "m", "stream": stream, "messages": [], "input": [], "prompt": "hi"}
    event_stream = SSE if path in EVENTS else NATIVE
    return Call(
        path=path,
        body=json.dumps(body).encode(),
        content_type=event_stream if stream else "application/json",
        answer=answer,
        privacy=privacy or Privacy(),
    )


def whole(
    path: str, *pieces: Piece, reason: str = "stop", metrics: Metrics = METRICS, text: str = ""
) -> Call:
    """The same answer in one object."""
    answer = Answer(
        content=text + "".join(piece.content for piece in pieces),
        thinking="".join(piece.thinking for piece in pieces),
        tool_calls=[piece.tool_call for piece in pieces if piece.tool_call],
        reason=reason,
        metrics=metrics,
    )
    return asked(path, dialect(path, stream=False).whole(answer), stream=False)
