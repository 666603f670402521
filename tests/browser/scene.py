"""A busy afternoon, made up: calls of every state, for pictures and for tests of the whole page."""

from __future__ import annotations

import random
import time
from typing import Any

import msgspec

from ollama_proxy.exchange import Call
from ollama_proxy.ids import iso
from ollama_proxy.insights.conflicts import summed_up
from ollama_proxy.records import Finding
from tests.browser.fake import Fake, call, finding, in_phase, model, spread, summary

GB = 1_000_000_000
CUT = {"cut": True, "tokens_lost": 3100, "estimated": True, "rule": "middle", "context": 8192}
LOOPED = {"kind": "looped", "tokens": 300, "seconds": 7.6, "estimated": False}
RELOADED = {"cause": "expired", "seconds": 8.9, "changed": {}, "by": None}
LLAMA, QWEN, EMBED = "llama3.1:8b-instruct-q4_K_M", "qwen3:14b", "nomic-embed-text:latest"

WHOLE = {"duration": 1.0, "time_to_first_byte": 0.5}
UNTOLD: list[tuple[dict[str, Any], str]] = [
    (WHOLE | {"streamed": False}, "unknown.unstreamed"),
    (WHOLE | {"streamed": True}, "unknown"),
    (WHOLE | {"streamed": True, "state": "cancelled"}, "unknown.before"),
    (WHOLE | {"path": "/api/tags", "model": None}, "unknown.no_model"),
    ({"duration": 1.0, "state": "failed", "reason": "upstream_unreachable"}, "unknown.unanswered"),
    ({"duration": 1.0, "state": "running"}, "unknown.running"),
]
"""Calls without a first token, and why they have none."""


def written(
    queue: float, load: float, prefill: float, tokens: tuple[int, int], speed: float
) -> Any:
    """The numbers of a call that wrote."""
    decode = tokens[1] / speed
    phases = {"queue": queue, "load": load, "prefill": prefill, "decode": decode}
    counted = {"input_tokens": tokens[0], "output_tokens": tokens[1], "tokens_per_second": speed}
    first = queue + load + prefill + 0.01
    rest = {"duration": first + decode, "time_to_first_token": first, "output_chunks": tokens[1]}
    return phases | counted | rest | {"done_reason": "stop", "status_code": 200, "streamed": True}


def calls() -> list[Call]:
    dice = random.Random(7)
    made = [
        call("cancelled", ago=30, client="ide-plugin", reason="client_disconnected", duration=4.1,
             time_to_first_token=1.2, output_chunks=96, status_code=200),
        call("failed", ago=48, client="indexer", model=EMBED, path="/api/embed", duration=0.031,
             reason="http_status", status_code=500, error="llama runner process has terminated"),
        call(ago=71, client="open-webui", method="GET", path="/api/tags", model=None,
             duration=0.004, status_code=200),
        call("timeout", ago=140, client="backtest.py", reason="first_byte_timeout", duration=60.0,
             status_code=504),
        call(ago=150, client="open-webui", path="/api/show", model=LLAMA, duration=0.001,
             status_code=200),
        call(ago=160, client="backtest.py", **(written(0.0, 0.0, 2.4, (8112, 512), 39.4)
             | {"done_reason": "length"}), insights={"prompt_cut": CUT, "waste": LOOPED}),
        call(ago=190, client="indexer", model=EMBED, path="/api/embed", duration=0.21, load=0.12,
             input_tokens=844, status_code=200, done_reason=None),
        call("interrupted", ago=400, client="nightly-report", reason="crash", duration=None),
        call(ago=420, client="langchain-app", path="/v1/chat/completions", model=LLAMA,
             duration=6.3, time_to_first_token=1.1, output_chunks=210, output_tokens=210,
             input_tokens=96, status_code=200, streamed=True),
        call(ago=440, client="signals.py", **written(3.1, 8.9, 0.4, (1204, 188), 40.8),
             insights={"reload": RELOADED}),
    ]  # fmt: skip
    for number in range(14):
        wait = dice.choice([0, 0, 0, 1.9, 5.2])
        size = (dice.randint(90, 5200), dice.randint(30, 640))
        kind = dice.choice([(QWEN, 40.0), (QWEN, 41.2), (LLAMA, 61.0)])
        numbers = written(wait, 0.0, size[0] / 1900, size, kind[1] + dice.random())
        who = dice.choice(["signals.py", "backtest.py", "open-webui", "ide-plugin"])
        made.append(call(ago=520 + number * 41, client=who, model=kind[0], **numbers))
    return made


def findings() -> list[Finding]:
    return [
        finding("waited", other="backtest.py", seconds=1320.0, count=61, of=412, ago=40),
        finding("reload_options", other="backtest.py", detail="num_ctx", seconds=372.0,
                count=14, of=412, ago=900, options=summed_up([("num_ctx 20480 → 8192", 14)])),
        finding("prompt_cut", client="backtest.py", detail="4096", tokens=21_700, tokens_p50=3000,
                tokens_max=4100, needed=7200, estimated=True),
        finding("slow_decode", model=LLAMA, client="open-webui", detail="cpu", seconds=96.0,
                count=9, of=30, ago=2400),
        finding("waited", client="ide-plugin", other="signals.py", seconds=61.0, count=3, ago=5000),
    ]  # fmt: skip


def models() -> list[dict[str, Any]]:
    soon = iso(time.time() + 270)
    return [
        model(
            QWEN,
            loaded=True, size_loaded=11 * GB, size_vram=11 * GB, context_length=8192,
            expires_at=soon, active=2,
            stats=summary(
                requests=8120, completed=8101, failed=3,
                duration=spread(8101, 5.1, 12.2, 19.4, 41),
                time_to_first_token=spread(8101, 0.82, 2.4, 3.1, 9.2),
                tokens_per_second=spread(8101, 38.2, 41, 42, 43),
            ),
        ),
        model(
            LLAMA, parameter_size="8.0B", changed_at=iso(time.time() - 40 * 86400),
            loaded=True, size_loaded=int(9.6 * GB), size_vram=int(7.1 * GB), context_length=20480,
            expires_at="2318-03-04T10:00:00.123456789+01:00",
            stats=summary(
                requests=204, completed=204,
                duration=spread(204, 3.3, 8, 9, 12),
                time_to_first_token=spread(204, 1.1, 3, 4, 6),
                tokens_per_second=spread(204, 61.4, 63, 64, 65),
            ),
        ),
        model(
            EMBED, parameter_size="137M", quantization="F16", active=1,
            stats=summary(requests=412, completed=411, failed=1,
                          duration=spread(411, 0.041, 0.2, 0.31, 0.9)),
        ),
        model("phi4:latest", available=False, parameter_size=None, quantization=None,
              stats=summary(requests=3, completed=3, duration=spread(3, 2, 3, 3, 3))),
        model("gemma3:27b"),
        model("deepseek-r1:32b"),
    ]  # fmt: skip


def busy(fake: Fake) -> list[Call]:
    """Fills `fake`; returns the running calls."""
    fake.began = time.time() - 7_820
    fake.listed = models()
    fake.ended = calls()
    fake.found = findings()
    fake.all = summary(
        requests=8739, completed=8716, failed=4, timeout=2, cancelled=16, interrupted=1,
        duration=spread(8716, 4.8, 11.9, 18.8, 40.2),
        time_to_first_token=spread(8305, 0.8, 2.5, 3.1, 8.8),
        tokens_per_second=spread(8305, 38.4, 60, 61, 64),
        queue_seconds=3_960.0, load_seconds=372.0, prefill_seconds=2_210.0, decode_seconds=31_400.0,
    )  # fmt: skip
    fake.changes = {
        "completed_requests": 8716, "failed_requests": 4, "timeout_requests": 2,
        "cancelled_requests": 16, "interrupted_requests": 1, "total_requests": 8743,
        "success_rate": 8716 / 8722 * 100, "total_tokens": 21_412_900, "input_tokens": 20_200_400,
        "output_tokens": 1_212_500, "first_call_at": iso(time.time() - 24 * 86400),
    }  # fmt: skip
    running = [
        call("running", ago=84.2, client="backtest.py", duration=84.2, time_to_first_token=31.0,
             output_chunks=2096),
        call("running", ago=23.4, client="signals.py", duration=23.4, time_to_first_token=3.0,
             output_chunks=812),
        call("running", ago=11.8, client="open-webui", duration=11.8),
        call("running", ago=6.1, client="indexer", model="nomic-embed-text",
             path="/api/embed", duration=6.1),
    ]  # fmt: skip
    fake.running = {one.id: one for one in running}
    phases = (
        in_phase("answering"),
        in_phase("thinking"),
        in_phase("queued", 1),
        in_phase("working"),
    )
    fake.told = {one.id: phase for one, phase in zip(running, phases, strict=True)}
    return running


def noted(one: Call) -> Call:
    """The same call with its texts, its options, its headers, and a stream that stood still."""
    pieces = [8] * 17 + [5] + [0] * 15 + [3] + [8] * 20
    return msgspec.structs.replace(
        one,
        prompt="You are a careful analyst.\n\nSummarise the news below in three sentences.",
        response="Prices rose in the morning and fell back after noon.",
        options={"num_ctx": 8192, "temperature": 0.2},
        in_force={"num_ctx": 8192, "num_gpu": None},
        headers={
            "request": [
                ["Host", "127.0.0.1:11435"],
                ["User-Agent", "python-requests/2.32"],
                ["Accept", "*/*"],
                ["Authorization", None],
                ["Content-Type", "application/json"],
                ["Content-Length", "4812"],
            ],
            "response": [
                ["Content-Type", "application/x-ndjson"],
                ["Date", "Sat, 28 Nov 2026 12:00:00 GMT"],
                ["Transfer-Encoding", "chunked"],
            ],
        },
        pace={"seconds": 0.2, "pieces": pieces, "longest_at": 3.5, "longest_after": 141},
        output_chunks=304,
        longest_gap=3.2,
        p95_gap=0.026,
        time_to_first_token=1.4,
        duration=12.2,
        request_bytes=4_812,
        response_bytes=31_770,
    )
