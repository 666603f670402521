"""A sample program: embeds documents in batches, not streamed."""

from __future__ import annotations

import json
import os
import random
import time
import urllib.request

HOST = os.environ["OLLAMA_HOST"]


def embed(texts: list[str]) -> int:
    request = urllib.request.Request(
        f"{HOST}/api/embed",
        json.dumps({"model": "nomic-embed-text", "input": texts}).encode(),
        {"Content-Type": "application/json", "User-Agent": "nightly_embed.py"},
    )
    with urllib.request.urlopen(request) as answer:
        return len(json.load(answer)["embeddings"])


while True:
    embed([f"Note {random.randint(1, 999)} on the market of the day" for _ in range(8)])
    time.sleep(random.uniform(2, 6))
