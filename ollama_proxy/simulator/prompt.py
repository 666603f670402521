"""The prompt of a call: rendered, counted, and cut as Ollama cuts it. Pure.

Not here: a tokenizer; the counts are those of `text.count_tokens`.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

from .calls import Call, Message, Refused
from .text import count_tokens

_PER_MESSAGE = 5  # <|im_start|> role \n … <|im_end|> \n
_CLOSING = 4  # <|im_start|> assistant \n
_PER_IMAGE = 256


@dataclass(frozen=True, slots=True)
class Prompt:
    """What the runner is given, its tokens before any cut, and those that are evaluated."""

    text: str
    whole: int
    tokens: int


def prepare(call: Call, system: str, num_ctx: int, num_keep: int) -> Prompt:
    """Render and fit into `num_ctx`. Raise `Refused` where Ollama answers 400."""
    if call.raw:
        return _fitted(call, call.messages[-1].content, None, num_ctx, num_keep)
    messages = with_system(call.messages, system)
    extra = count_tokens(_tools_text(call)) if call.tools else 0
    if call.chat and call.truncate:
        messages = _newest_that_fit(messages, num_ctx - extra)
    tokens = extra + _CLOSING + sum(map(cost, messages))
    return _fitted(call, render(messages, _tools_text(call)), tokens, num_ctx, num_keep)


def with_system(messages: list[Message], system: str) -> list[Message]:
    if system and messages and messages[0].role != "system":
        return [Message("system", system), *messages]
    return messages


def render(messages: list[Message], tools: str = "") -> str:
    """The ChatML text of `_debug_render_only`."""
    turns = [Message("system", tools)] if tools else []
    text = (f"<|im_start|>{m.role}\n{m.content}<|im_end|>\n" for m in [*turns, *messages])
    return "".join(text) + "<|im_start|>assistant\n"


def cost(message: Message) -> int:
    return count_tokens(message.content) + _PER_MESSAGE + _PER_IMAGE * message.images


def _tools_text(call: Call) -> str:
    if not call.tools:
        return ""
    return "You are given tools: " + json.dumps(call.tools, ensure_ascii=False)


def _newest_that_fit(messages: list[Message], room: int) -> list[Message]:
    """Ollama drops the oldest messages until the rest fits; system messages and the last stay."""
    costs = [cost(m) for m in messages]
    kept = sum(c for m, c in zip(messages, costs, strict=True) if m.role == "system") + _CLOSING
    start = len(messages)
    while start > 0:
        if messages[start - 1].role != "system":
            kept += costs[start - 1]
            if kept > room and start < len(messages):
                break
        start -= 1
    return [m for i, m in enumerate(messages) if i >= start or m.role == "system"]


def _fitted(call: Call, text: str, tokens: int | None, num_ctx: int, num_keep: int) -> Prompt:
    """The half cut of the completion path: a prompt of num_ctx tokens and more loses its middle."""
    whole = count_tokens(text) if tokens is None else tokens
    # What is only written out goes to no runner, which is what refuses and cuts here.
    if whole < num_ctx or call.render_only or any(m.images for m in call.messages):
        return Prompt(text, whole, whole)
    if not call.truncate:
        raise Refused(400, _exceeded(whole, num_ctx), late=True)
    if not call.shift:
        raise Refused(400, "the prompt is too long and context shift is disabled", late=True)
    keep = num_ctx - 1 if num_keep < 0 else min(num_keep, num_ctx - 1)
    return Prompt(text, whole, num_ctx - max((num_ctx - keep) // 2, 1))


def _exceeded(whole: int, num_ctx: int) -> str:
    message = (
        f"request ({whole} tokens) exceeds the available context size ({num_ctx} tokens), "
        "try increasing it"
    )
    error = {
        "code": 400,
        "message": message,
        "type": "exceed_context_size_error",
        "n_prompt_tokens": whole,
        "n_ctx": num_ctx,
    }
    return json.dumps({"error": error}, separators=(",", ":"))
