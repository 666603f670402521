"""Has Ollama write out the prompt that a request makes, without answering it.

`_debug_render_only` is a field of `/api/chat` and `/api/generate` (api/types.go of 0.33): the model
is loaded, if it is not, but runs nothing, and takes no slot. Not here: what follows from the text
(`insights/rendered.py`).
"""

from __future__ import annotations

from typing import Any

import aiohttp
import msgspec

from ollama_proxy.records import PROBE_HEADER

SECONDS = 120.0
"""How long is waited: the model may have to be loaded first."""
MAX_BYTES = 8 << 20


class RenderingError(Exception):
    """Ollama did not write it out; the text is one line that says why."""


class _Debug(msgspec.Struct):
    rendered_template: str


class _Answer(msgspec.Struct):
    debug: _Debug = msgspec.field(name="_debug_info")


async def rendered(upstream: str, path: str, body: dict[str, Any], instance: str) -> str:
    """The prompt of this request. Raises RenderingError."""
    options = body.get("options")
    # An Ollama that does not know the field would answer: with no more than a token.
    short = {**(options if isinstance(options, dict) else {}), "num_predict": 1}
    asked = {**body, "options": short, "stream": False, "_debug_render_only": True}
    timeout = aiohttp.ClientTimeout(total=SECONDS)
    headers = {PROBE_HEADER: instance}
    try:
        async with (
            aiohttp.ClientSession(timeout=timeout, auto_decompress=False) as session,
            # A redirection could lead a kept prompt to another host.
            session.post(
                upstream.rstrip("/") + path, json=asked, headers=headers, allow_redirects=False
            ) as answer,
        ):
            if answer.status != 200:
                raise RenderingError(f"Ollama answered with status {answer.status}")
            data = bytearray()
            async for piece in answer.content.iter_any():
                data += piece
                if len(data) > MAX_BYTES:
                    raise RenderingError("the prompt is too long to be compared")
    except TimeoutError:
        raise RenderingError(f"Ollama did not answer within {SECONDS:g} s") from None
    except (aiohttp.ClientError, OSError) as error:
        raise RenderingError(f"Ollama cannot be reached: {type(error).__name__}") from error
    try:
        return msgspec.json.decode(data, type=_Answer).debug.rendered_template
    except (ValueError, RecursionError):
        raise RenderingError("this Ollama does not write out prompts") from None
