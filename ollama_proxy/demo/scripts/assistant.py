"""A sample program: a thinking model, plain answers, a tool that lists what is loaded."""

from __future__ import annotations

import json
import os
import random
import time
import urllib.request

HOST = os.environ["OLLAMA_HOST"]
HEADERS = {"Content-Type": "application/json", "User-Agent": "assistant.py"}


def ask(question: str) -> str:
    body = {"model": "qwen3:8b", "stream": False, "think": True, "options": {"num_predict": 160}}
    body["messages"] = [{"role": "user", "content": question}]
    request = urllib.request.Request(f"{HOST}/api/chat", json.dumps(body).encode(), HEADERS)
    with urllib.request.urlopen(request) as answer:
        return str(json.load(answer)["message"]["content"])


def loaded() -> list[str]:
    request = urllib.request.Request(f"{HOST}/api/ps", headers=HEADERS)
    with urllib.request.urlopen(request) as answer:
        return [model["name"] for model in json.load(answer)["models"]]


while True:
    ask(random.choice(["Plan my week.", "Why is the sky blue?", "Write a haiku on latency."]))
    loaded()
    time.sleep(random.uniform(6, 15))
