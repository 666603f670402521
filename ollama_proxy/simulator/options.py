"""What a simulator can be told: its models, its pace, its limits.

Not here: anything a single request says; that is `calls.py`.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class SimulatorOptions:
    """A rate of 0 means as fast as possible: nothing sleeps, but the event loop keeps its turns."""

    models: tuple[str, ...] = ("llama3.2:latest", "qwen3:8b", "nomic-embed-text:latest")
    tokens_per_second: float = 40
    prefill_tokens_per_second: float = 2000
    load_seconds: float = 1.5
    parallel: int = 1  # OLLAMA_NUM_PARALLEL: slots of one loaded model
    seed: int = 7
    version: str = "0.33.0"
    num_ctx: int = 4096  # OLLAMA_CONTEXT_LENGTH
    keep_alive_seconds: float = 300  # OLLAMA_KEEP_ALIVE
    max_loaded: int = 3  # OLLAMA_MAX_LOADED_MODELS
    max_queue: int = 512  # OLLAMA_MAX_QUEUE, of the calls that wait for a load
    answer_tokens: int | None = None  # a fixed length of every answer; None: drawn per prompt
    vram_share: float = 1.0  # the part of a loaded model that lies on the GPU
    registry: bool = True  # False: pulls and pushes fail as on a machine without a network
