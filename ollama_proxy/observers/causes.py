"""What an error of Ollama's means, told from its text: few causes, else none. Pure.

The texts are Ollama's own (server/sched.go, server/routes.go, llm/llama_server.go and llm/status.go
of v0.33, and those of earlier runners). A text may quote what a client wrote, so nothing is looked
for in it but what stands where Ollama itself puts it. Not here: reading the text out of an answer.
"""

from __future__ import annotations

import re

from ollama_proxy.exchange import Reason

_LIMIT = 2000
_MODEL_MISSING = re.compile(r"model (?:'.{1,300}?'|\".{1,300}?\") not found", re.DOTALL)
_BUSY = re.compile(r"server busy\b|server overloaded\b")
_CONTEXT = re.compile(
    r"request \(\d+ tokens\) exceeds the available context size"
    r"|(?:the )?input length exceeds (?:the |maximum )?context length"
    r"|input (?:after truncation )?exceeds maximum context length"
    r"|(?:the )?prompt is (?:too long|longer than the context length)"
)
_RUNNER = re.compile(
    r"(?:llama runner|llama-server|model runner)\b(?:.{0,20})"
    r"(?:has terminated|no longer running|has unexpectedly stopped)"
    r"|an error was encountered while running the model"
    r"|timed out waiting for llama"
    r"|error loading model|unable to load model|cuda error|rocm error"
)
_MEMORY = re.compile(
    r"out of memory|out of device memory|not enough memory|insufficient memory|allocation failed"
    r"|failed to allocate|cudamalloc failed|hipmalloc failed|out_of_device_memory|erroroutofmemory"
)
_NEEDS_MEMORY = re.compile(r"model requires more (?:system|gpu) memory|cudamalloc failed")


def cause_of(message: str) -> Reason | None:
    """The cause, or None where the text says nothing more than that something failed."""
    text = message[:_LIMIT].lower().strip()
    if _MODEL_MISSING.match(text):
        return Reason.MODEL_MISSING
    if _BUSY.match(text):
        return Reason.BUSY
    if _CONTEXT.match(text):
        return Reason.CONTEXT_EXCEEDED
    if _NEEDS_MEMORY.match(text):
        return Reason.OUT_OF_MEMORY
    if _RUNNER.match(text):
        # What follows is the runner's own last words.
        return Reason.OUT_OF_MEMORY if _MEMORY.search(text) else Reason.RUNNER_DIED
    return None
