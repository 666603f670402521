"""A sample program: asks for a short opinion on a symbol, again and again, streamed.

It knows nothing of the proxy: it reads OLLAMA_HOST as every Ollama program does.
"""

from __future__ import annotations

import json
import os
import random
import time
import urllib.request

HOST = os.environ["OLLAMA_HOST"]
SYMBOLS = ["BTC", "ETH", "SOL", "XRP", "ADA"]


def ask(symbol: str) -> str:
    body = {
        "model": "llama3.2",
        "messages": [
            {"role": "system", "content": "You are a careful analyst. Answer in one sentence."},
            {"role": "user", "content": f"Is the trend of {symbol} up or down, and why?"},
        ],
        "options": {"num_predict": random.randint(40, 120), "num_ctx": 4096},
    }
    request = urllib.request.Request(
        f"{HOST}/api/chat",
        json.dumps(body).encode(),
        {"Content-Type": "application/json", "User-Agent": "signals.py"},
    )
    with urllib.request.urlopen(request) as answer:
        return "".join(json.loads(line)["message"]["content"] for line in answer)


while True:
    ask(random.choice(SYMBOLS))
    time.sleep(random.uniform(0.5, 4))
