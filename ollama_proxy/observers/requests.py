"""What is read of a request that runs a model, in any dialect: its fields, its texts, its images.

Pure. A conversation is looked at as turns, role and text. Of images only how many and how large
they are is told: no image is decoded or kept. Not here: what of a text may be kept (`privacy.py`),
which options were asked for (`options.py`).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from ollama_proxy.exchange import Observation
from ollama_proxy.observers.privacy import Mode, Privacy
from ollama_proxy.observers.reading import CutText, Form, text
from ollama_proxy.sketch import Sketch, sketch

Turn = tuple[str, str | None]
"""Who speaks, and what: None where it is no text at all."""

MOST = 2000
"""Messages of a request, parts of one, and images, that are looked at: some us each."""
_ROLES = {"function_call": "assistant", "function_call_output": "tool"}


class Request(msgspec.Struct):
    """The fields that are read in any dialect; everything else is skipped. Types are checked later,
    one by one, so that a wrong one does not hide the others."""

    model: Any = None
    stream: Any = msgspec.UNSET
    prompt: Any = None
    messages: Any = None
    input: Any = None
    system: Any = None
    instructions: Any = None
    images: Any = None
    options: Any = None
    keep_alive: Any = None
    think: Any = None
    format: Any = None
    response_format: Any = None
    text: Any = None
    reasoning: Any = None
    reasoning_effort: Any = None
    thinking: Any = None
    output_config: Any = None
    temperature: Any = None
    top_p: Any = None
    top_k: Any = None
    max_tokens: Any = None
    max_completion_tokens: Any = None
    max_output_tokens: Any = None
    seed: Any = None
    stop: Any = None
    stop_sequences: Any = None
    frequency_penalty: Any = None
    presence_penalty: Any = None
    stream_options: Any = None
    dimensions: Any = None
    tools: Any = None
    truncate: Any = None
    raw: Any = None
    template: Any = None
    suffix: Any = None
    context: Any = None
    shift: Any = None


REQUEST = Form(Request)


def bounded(request: Request) -> bool:
    """Leave no more than the latest `MOST` of each list to be looked at; whether that is all."""
    long = False
    for name in ("messages", "input", "images"):
        value = getattr(request, name)
        if isinstance(value, list) and len(value) > MOST:
            long = True
            setattr(request, name, value[-MOST:])
    for message in (*_dicts(request.messages), *_dicts(request.input)):
        for name in ("content", "output", "images"):
            value = message.get(name)
            if isinstance(value, list) and len(value) > MOST:
                long, message[name] = True, value[-MOST:]
    return not long


def keep_prompt(prompt: object, observation: Observation, privacy: Privacy) -> None:
    """Keep one text; anything else is no prompt."""
    observation.prompt = privacy.keep(text(prompt), not isinstance(prompt, CutText))


def keep_turns(turns: list[Turn], whole: bool, observation: Observation, privacy: Privacy) -> None:
    """Keep the newest text of the user's, or the conversation in the modes `full` and `hash`.

    `whole` False: more turns may have followed, which were not seen.
    """
    if privacy.mode is Mode.TRUNCATE:
        asked = (said for role, said in reversed(turns) if role == "user" and said is not None)
        keep_prompt(next(asked, None), observation, privacy)
    elif turns:
        lines = [f"{role}: {said or ''}" for role, said in turns]
        observation.prompt = privacy.keep("\n".join(lines), whole)


def native_turns(request: Request) -> list[Turn]:
    """The messages of /api/chat, without images and calls of tools."""
    return [(_role(message), text(message.get("content"))) for message in _dicts(request.messages)]


def turns(request: Request) -> list[Turn]:
    """A /v1 conversation: its instructions first, then the messages in their order.

    What tools answered comes as a role, an item or a part of a user's message: always role `tool`.
    """
    first = text_of(request.system) or text_of(request.instructions)
    found: list[Turn] = [("system", first)] if first else []
    if isinstance(request.input, str):
        found.append(("user", request.input))
    for item in _items(request):
        found += _turns_of(item)
    return found


def text_of(content: object) -> str | None:
    """The text of a content that is a string or a list of parts; None if there is none in it."""
    if isinstance(content, str):
        return content
    texts = [part["text"] for part in _dicts(content) if isinstance(part.get("text"), str)]
    return "\n".join(texts) if texts else None


def first_text(*values: object) -> object:
    """The first of these that is a text, or the text that a list of them begins with."""
    firsts = (value[0] if isinstance(value, list) and value else value for value in values)
    return next((value for value in firsts if isinstance(value, str)), None)


def sketch_of(request: Request, turns: list[Turn], sure: bool, images: int | None) -> Sketch:
    """What is known of the prompt without its text. `sure`: all of the request was understood."""
    own = (request.tools, request.raw, request.template, request.suffix, request.context)
    called = any(message.get("tool_calls") for message in _items(request))
    plain = sure and not (images or called or any(own))
    return sketch(turns, plain, request.truncate is not False)


def keep_images(sizes: list[int | None], sure: bool, observation: Observation) -> None:
    """How many images there are, of how many bytes. None where not all of the request was seen,
    which is so for every request of more than `base.REQUEST_LIMIT`."""
    if sure:
        known = [size for size in sizes if size is not None]
        observation.images = len(sizes)
        observation.image_bytes = sum(known) if len(known) == len(sizes) else None


def native_images(request: Request) -> list[int | None]:
    """The sizes of the images of /api/generate and /api/chat."""
    listed = [request.images, *(message.get("images") for message in _dicts(request.messages))]
    return [_decoded(one) for images in listed if isinstance(images, list) for one in images]


def images(request: Request) -> list[int | None]:
    """The sizes of a /v1 request's images; None for one that is only named, as by its URL."""
    return [_size(part) for item in _items(request) for part in _parts(item) if _is_image(part)]


def _dicts(value: object) -> list[dict[str, Any]]:
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []


def _items(request: Request) -> list[dict[str, Any]]:
    return _dicts(request.messages) or _dicts(request.input)


def _role(item: dict[str, Any]) -> str:
    return text(item.get("role")) or _ROLES.get(text(item.get("type")) or "", "?")


def _turns_of(item: dict[str, Any]) -> Iterator[Turn]:
    content = item.get("content", item.get("output"))
    parts = _dicts(content)
    results = [part for part in parts if part.get("type") == "tool_result"]
    for result in results:
        yield "tool", text_of(result.get("content"))
    if not results or len(results) < len(parts):
        yield _role(item), text_of(content)


def _parts(item: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The parts of a message, and those of what a tool answered in it."""
    for part in _dicts(item.get("content", item.get("output"))):
        yield part
        yield from _dicts(part.get("content"))


def _is_image(part: dict[str, Any]) -> bool:
    return part.get("type") in ("image", "image_url", "input_image")


def _size(part: dict[str, Any]) -> int | None:
    url, source = part.get("image_url"), part.get("source")
    if isinstance(url, dict):
        url = url.get("url")
    if isinstance(source, dict) and source.get("type") == "base64":
        return _decoded(source.get("data"))
    if isinstance(url, str) and url.startswith("data:"):
        _, coded, data = url.partition(";base64,")
        return _decoded(data) if coded else None
    return None


def _decoded(encoded: object) -> int | None:
    """The bytes that a base64 text stands for, by its length."""
    if not isinstance(encoded, str):
        return None
    digits = len(encoded) - sum(map(encoded.count, "=\r\n"))
    return digits * 3 // 4
