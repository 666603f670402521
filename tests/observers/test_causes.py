"""Which cause an error's text tells; the texts are Ollama's own."""

from __future__ import annotations

import pytest

from ollama_proxy.observers.causes import cause_of

STOPPED = (
    "model runner has unexpectedly stopped, this may be due to resource limitations or an internal"
    " error, check ollama server logs for details"
)


@pytest.mark.parametrize(
    ("message", "cause"),
    [
        ("model 'nope' not found", "model_missing"),
        ('model "hf.co/a/b:Q4" not found, try pulling it first', "model_missing"),
        ("server busy, please try again.  maximum pending requests exceeded", "busy"),
        (
            "request (7610 tokens) exceeds the available context size (512 tokens), try increasing",
            "context_exceeded",
        ),
        ("the input length exceeds the context length", "context_exceeded"),
        (
            "the prompt is longer than the context length currently available to the model; "
            "shorten it or set a larger num_ctx",
            "context_exceeded",
        ),
        ("input after truncation exceeds maximum context length", "context_exceeded"),
        ("model requires more system memory (5.5 GiB) than is available (3 GiB)", "out_of_memory"),
        (f"{STOPPED}: CUDA error: out of memory", "out_of_memory"),
        ("llama-server process has terminated: cudaMalloc failed: out of memory", "out_of_memory"),
        ("an error was encountered while running the model: unexpected EOF", "runner_died"),
        (STOPPED, "runner_died"),
        ("llama runner process has terminated: exit status 2", "runner_died"),
        ("llama-server process no longer running: 1 GGML_ASSERT", "runner_died"),
        ("timed out waiting for llama-server to start", "runner_died"),
        ("model is required", None),
        ("unexpected EOF", None),
        ("404 page not found", None),
        ("", None),
        # What a client wrote, quoted in an error, tells nothing.
        ("invalid character: out of memory, server busy", None),
        ("template: model 'x' not found", None),
    ],
)
def test_a_text_tells_its_cause(message: str, cause: str | None) -> None:
    assert cause_of(message) == cause


def test_a_huge_text_is_looked_at_in_part() -> None:
    assert cause_of("llama runner " + "x" * 1_000_000) is None
