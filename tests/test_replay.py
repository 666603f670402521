"""A captured call, made again: what the shell and Python send is, byte for byte, what was sent."""

from __future__ import annotations

import asyncio
import base64
import itertools
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some
from msgspec.structs import replace

from ollama_proxy.replay import FORMS, INLINE_BYTES, Capture, ReplayError
from tests.harness import Connection, ScriptedUpstream, head_bytes, recording, recordings

BASE = "http://127.0.0.1:11435"
BODY = b'{"model": "m", "prompt": "it\'s \\"quoted\\" $HOME `id` \\\\ !!\\n"}'
# In place of curl: tells its arguments and what comes in, as JSON.
LISTENER = """
import base64, json, sys
body = sys.stdin.buffer.read() if "@-" in sys.argv else b""
print(json.dumps([sys.argv[1:], base64.b64encode(body).decode()]))
"""


def capture(**fields: Any) -> Capture:
    known: dict[str, Any] = {
        "id": "01ABC",
        "method": "POST",
        "target": "/api/generate",
        "headers": [("Host", "x"), ("Content-Type", "application/json"), ("User-Agent", "a/1")],
        "body": BODY,
    }
    return Capture(**known | fields)


def made(form: str, call: Capture, base: str = BASE) -> str:
    return FORMS[form][1](call, base)


def run_curl(call: Capture, folder: Path) -> tuple[list[str], bytes]:
    """What a shell gives curl: its arguments, and its input."""
    listener, script = folder / "listener.py", folder / "script.sh"
    listener.write_text(LISTENER)
    curl = f'curl() {{ {sys.executable} {listener} "$@"; }}\n'
    script.write_text(curl + made("curl", call))
    done = subprocess.run(["sh", script], capture_output=True, check=True)
    arguments, body = json.loads(done.stdout)
    return arguments, base64.b64decode(body)


def after(arguments: list[str], flag: str) -> list[str]:
    return [value for name, value in itertools.pairwise(arguments) if name == flag]


# -- curl -----------------------------------------------------------------------------------


def test_curl_sends_the_body_as_it_was(tmp_path: Path) -> None:
    arguments, _ = run_curl(capture(), tmp_path)
    assert after(arguments, "--data-raw") == [BODY.decode()]
    assert after(arguments, "-X") == ["POST"]
    assert after(arguments, "-H") == ["Content-Type: application/json"]
    assert f"{BASE}/api/generate" in arguments


@settings(max_examples=25, deadline=None)
@given(some.binary(min_size=1, max_size=40) | some.text(min_size=1, max_size=20).map(str.encode))
def test_no_body_means_anything_to_the_shell(
    tmp_path_factory: pytest.TempPathFactory, body: bytes
) -> None:
    arguments, piped = run_curl(capture(body=body), tmp_path_factory.mktemp("curl"))
    raw = after(arguments, "--data-raw")
    assert (raw[0].encode() if raw else piped) == body
    assert bool(raw) != bool(after(arguments, "--data-binary"))


@pytest.mark.parametrize("body", [b"x" * (INLINE_BYTES + 1), b"\0\xff", b"\x1b[201~rm\n"])
def test_what_is_too_long_or_odd_for_an_argument_goes_in_by_the_pipe(
    body: bytes, tmp_path: Path
) -> None:
    arguments, piped = run_curl(capture(body=body), tmp_path)
    assert piped == body
    assert after(arguments, "--data-raw") == []


def test_hostile_targets_and_headers_stay_one_argument(tmp_path: Path) -> None:
    headers = [("X-A", "'; touch /tmp/x #"), ("X-Empty", ""), ("X-Odd", "a\x1bb")]
    call = capture(target="/a/../b';id #[1-3]{a} é", headers=headers, method="PUT", body=b"")
    arguments, _ = run_curl(call, tmp_path)
    assert f"{BASE}/a/../b';id%20#[1-3]{{a}}%20%C3%A9" in arguments
    assert "--globoff" in arguments and "--path-as-is" in arguments
    assert after(arguments, "-H") == ["X-A: '; touch /tmp/x #", "X-Empty;"]


def test_without_a_content_type_curl_claims_none(tmp_path: Path) -> None:
    arguments, _ = run_curl(capture(headers=[]), tmp_path)
    assert after(arguments, "-H") == ["Content-Type:"]


def test_a_get_has_no_body_and_a_head_no_answer(tmp_path: Path) -> None:
    arguments, _ = run_curl(capture(method="GET", body=b"", headers=[]), tmp_path)
    assert not any(argument.startswith("--data") for argument in arguments)
    arguments, _ = run_curl(capture(method="HEAD", body=b"", headers=[]), tmp_path)
    assert "--head" in arguments and "-X" not in arguments


# -- Python ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "call",
    [
        capture(),
        capture(body=b"\0\xff'\"\\"),
        capture(method="GET", body=b"", target="/a?b=\u00e9"),
    ],
)
async def test_the_script_sends_what_was_sent_and_prints_the_answer(call: Capture) -> None:
    seen: list[bytes] = []

    async def answer(client: Connection) -> None:
        seen.append(await client.read_head())
        assert call.body is not None
        seen.append(await client.read(len(call.body)) if call.body else b"")
        await client.send(head_bytes("HTTP/1.1 200 OK", [("Content-Length", "4")]) + b"one\n")

    async with ScriptedUpstream(answer) as upstream:
        out = await run_python(made("python", call, upstream.url))
    assert out == b"one\n"
    assert seen[1] == call.body
    assert seen[0].startswith(f"{call.method} {call.target.replace('é', '%C3%A9')} HTTP".encode())
    assert b"content-type: application/json\r\n" in seen[0].lower()
    assert b"a/1" not in seen[0]


async def run_python(script: str) -> bytes:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", script, stdout=asyncio.subprocess.PIPE
    )
    out, _ = await process.communicate()
    assert process.returncode == 0
    return out


# -- recordings -----------------------------------------------------------------------------


def as_captured(recorded: dict[str, Any]) -> Capture:
    """The capture of a call that went as this recording says."""
    request, response = recorded["request"], recorded["response"]
    return Capture(
        id=recorded["name"],
        method=request["method"],
        target=request["target"],
        headers=[(name, value) for name, value in request["headers"]],
        body=request["body"].encode(),
        status=response["status"],
        reason=response["reason"],
        response_headers=[(name, value) for name, value in response["headers"]],
        framing=response["framing"],
        pieces=[(at / 1000, text.encode()) for at, text in response["chunks"]],
        complete=response["complete"],
    )


@pytest.mark.parametrize("name", recordings())
def test_a_recording_of_what_was_recorded_is_the_same(name: str) -> None:
    recorded = recording(name)
    assert json.loads(made("recording", as_captured(recorded))) == recorded


def test_a_character_across_two_pieces_belongs_to_the_second() -> None:
    pieces = [(0.001, "è".encode()[:1]), (0.002, "è".encode()[1:] + b"!"), (0.003, b"")]
    call = capture(status=200, framing="chunked", pieces=pieces)
    assert json.loads(made("recording", call))["response"]["chunks"] == [[2.0, "è!"]]


def test_an_answer_of_known_length_is_one_chunk() -> None:
    call = capture(status=200, framing="length", pieces=[(0.001, b"a"), (0.002, b"b")])
    assert json.loads(made("recording", call))["response"]["chunks"] == [[2.0, "ab"]]


@pytest.mark.parametrize(
    ("form", "fields", "why"),
    [
        ("curl", {"body": None}, "the request is longer than what is kept of one"),
        ("python", {"body": None}, "the request is longer than what is kept of one"),
        ("recording", {"body": None, "status": 200}, "the request is longer"),
        ("recording", {"body": b"\xff", "status": 200}, "the request is not text"),
        ("recording", {}, "this call has no answer to record"),
        ("recording", {"status": 200, "cut": True}, "an answer that is too long"),
        ("recording", {"status": 200, "pieces": [(0.0, b"\x1f\x8b")]}, "the answer is not text"),
        ("recording", {"status": 200, "pieces": [(0.0, b"\xc3")]}, "the answer is not text"),
    ],
)
def test_what_cannot_be_made_again_says_why(form: str, fields: dict[str, Any], why: str) -> None:
    with pytest.raises(ReplayError, match=why):
        made(form, capture(**fields))


def test_a_capture_is_read_back_from_its_bytes() -> None:
    call = replace(capture(), pieces=[(0.5, b"\xff\0")], status=200)
    assert Capture.from_bytes(call.to_bytes()) == call
    assert call.size > len(BODY)
