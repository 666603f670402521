"""A sample program: sends long prompts and sometimes gives up, as backtests do."""

from __future__ import annotations

import json
import os
import random
import time
import urllib.error
import urllib.request

HOST = os.environ["OLLAMA_HOST"]


def explain(day: int, model: str) -> None:
    candles = " ".join(f"{random.uniform(90, 110):.2f}" for _ in range(random.randint(200, 1500)))
    body = {
        "model": model,
        "prompt": f"Day {day}. Closing prices: {candles}. Which pattern is this?",
        "options": {"num_predict": random.randint(80, 250)},
    }
    request = urllib.request.Request(
        f"{HOST}/api/generate",
        json.dumps(body).encode(),
        {"Content-Type": "application/json", "User-Agent": "backtest.py"},
    )
    patience = random.choice([None, None, None, 2.5])
    began = time.monotonic()
    with urllib.request.urlopen(request) as answer:
        for _ in answer:
            if patience is not None and time.monotonic() - began > patience:
                return


day = 0
while True:
    day += 1
    # Once in a while a model that was never pulled, as after a typing error.
    wanted = "llama3.2" if random.random() > 0.1 else "lama3.2"
    try:
        explain(day, wanted)
    except urllib.error.HTTPError:
        time.sleep(1)
    time.sleep(random.uniform(1, 5))
