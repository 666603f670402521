"""Every recording of a real Ollama: the facts equal its last object, however it is cut (M1, M4)."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ollama_proxy.exchange import Observation
from ollama_proxy.observers import Mode, Privacy
from tests.observers.watching import NDJSON, RECORDINGS, Call, last_line, recording

ANSWERS = [name for name in RECORDINGS if name.startswith(("generate_", "chat_", "runner_"))]
STREAMS = [name for name in ANSWERS if recording(name).content_type == NDJSON]
V1 = [name for name in RECORDINGS if recording(name).path.startswith("/v1/")]
V1_ANSWERS = [name for name in V1 if name.endswith(("_nonstream", "_stream", "_usage"))]
V1_STREAMS = [name for name in V1_ANSWERS if "nonstream" not in name]
PRIVACIES = [Privacy(), Privacy.build("none"), Privacy.build("full"), Privacy.build("hash")]


def test_there_are_recordings() -> None:
    assert len(RECORDINGS) > 55
    assert len(STREAMS) > 10
    assert (len(V1), len(V1_ANSWERS), len(V1_STREAMS)) == (14, 9, 5)


@pytest.mark.parametrize("name", ANSWERS)
def test_counts_and_durations_are_those_of_the_last_object(name: str) -> None:
    call = recording(name)
    seen = call.facts()
    if call.status >= 400:
        assert (seen.input_tokens, seen.output_tokens, seen.total) == (None, None, None)
        return
    said = last_line(call)
    assert seen.input_tokens == said.get("prompt_eval_count")
    assert seen.output_tokens == said.get("eval_count")
    assert seen.done_reason == said.get("done_reason")
    for fact, field in (
        (seen.total, "total_duration"),
        (seen.load, "load_duration"),
        (seen.prefill, "prompt_eval_duration"),
        (seen.decode, "eval_duration"),
    ):
        assert fact == (said[field] / 1e9 if field in said else None)


@pytest.mark.parametrize("name", STREAMS)
def test_text_and_chunks_of_a_stream(name: str) -> None:
    call = recording(name, Privacy.build("full"))
    lines = [json.loads(line) for line in call.answer.splitlines()]
    texts = [line.get("response") or line.get("message", {}).get("content", "") for line in lines]
    observer = call.watched()
    assert observer.observation.response == "".join(texts)
    assert observer.observation.output_chunks == len(lines) - 1
    assert observer.text_seen
    assert recording(name).facts().response == "".join(texts)[:200]


def said(call: Call) -> list[dict[str, Any]]:
    """The JSON objects of a /v1 answer, read by json and not by the code under test."""
    text = call.answer.decode()
    if not call.content_type.startswith("text/event-stream"):
        return [json.loads(text)]
    data = [line[6:] for line in text.splitlines() if line.startswith("data: ")]
    return [json.loads(one) for one in data if one != "[DONE]"]


def v1_usage(objects: list[dict[str, Any]]) -> tuple[int | None, int | None]:
    """The counts that stand last, if there are any but zeros and guesses."""
    holders = [one.get("response", one) for one in objects if one.get("type") != "message_start"]
    told = [used for one in holders if any((used := one.get("usage") or {"": 0}).values())]
    if not told:
        return None, None
    last = told[-1]
    came, went = last.get("prompt_tokens"), last.get("completion_tokens")
    return (last["input_tokens"], last["output_tokens"]) if came is None else (came, went)


def v1_text(one: dict[str, Any]) -> str:
    """What one object of an answer says, in whichever dialect."""
    choice = (one.get("choices") or [{}])[0]
    spoken = choice.get("delta") or choice.get("message") or {}
    delta = one.get("delta", {})
    if isinstance(delta, str) or "text" in delta:
        return delta if isinstance(delta, str) else str(delta["text"])
    parts = [part for item in one.get("output", []) for part in item["content"]]
    blocks = parts + (one["content"] if isinstance(one.get("content"), list) else [])
    return str(spoken.get("content") or choice.get("text") or "") + "".join(
        block["text"] for block in blocks
    )


@pytest.mark.parametrize("name", V1_ANSWERS)
def test_facts_of_v1_are_those_of_its_own_answer(name: str) -> None:
    call = recording(name, Privacy.build("full"))
    observer = call.watched()
    seen, objects = observer.observation, said(call)
    texts = [v1_text(one) for one in objects]
    assert (seen.input_tokens, seen.output_tokens) == v1_usage(objects)
    assert (seen.input_tokens is None) is (name == "v1_chat_stream_no_usage")
    assert seen.response == "".join(texts)
    assert seen.output_chunks == (sum(map(bool, texts)) if name in V1_STREAMS else None)
    reasons = {"v1_messages": "end_turn", "v1_responses": "completed", "v1_completions": "length"}
    assert seen.done_reason == reasons.get(name.rpartition("_")[0], "stop")
    assert (seen.total, seen.load, seen.prefill, seen.decode) == (None,) * 4
    told = None if "completions" in name else 0
    assert (seen.thinking_characters, seen.tool_calls, seen.tool_names) == (told, told, None)
    assert observer.text_seen and observer.answer_seen


@pytest.mark.parametrize("name", V1)
def test_what_was_asked_of_v1(name: str) -> None:
    call = recording(name)
    if call.method != "POST":
        assert call.facts() == Observation()
        return
    asked = json.loads(call.body)
    seen = call.facts()
    messages = asked.get("messages") or [{"content": asked.get("prompt", asked.get("input"))}]
    assert (seen.model, seen.prompt) == (asked["model"], messages[-1]["content"])
    assert seen.streamed is asked.get("stream", False)
    known = ("temperature", "max_tokens", "max_output_tokens", "stream_options")
    assert (seen.options or {}) == {key: asked[key] for key in known if key in asked}
    assert (seen.images, seen.image_bytes) == ((None, None) if "embed" in name else (0, 0))


@pytest.mark.parametrize("name", V1_STREAMS)
@pytest.mark.parametrize("privacy", PRIVACIES[:2])
def test_v1_broken_off_anywhere_tells_nothing_wrong(name: str, privacy: Privacy) -> None:
    call = recording(name, privacy)
    whole, answer = call.facts(), call.answer.rstrip(b"\n")
    for size in range(0, len(answer), 3 if name == "v1_completions_stream" else 1):
        call.answer, call.complete = answer[:size], False
        seen = call.facts()
        assert seen.incomplete
        assert seen.input_tokens in (None, whole.input_tokens)
        assert seen.output_tokens in (None, whole.output_tokens)
        assert (seen.output_chunks or 0) <= (whole.output_chunks or 0)
        assert (whole.response or "").startswith(seen.response or "")


@pytest.mark.parametrize("name", ANSWERS)
def test_what_was_asked(name: str) -> None:
    call = recording(name)
    if call.method != "POST" or name == "chat_bad_json":
        return
    asked = json.loads(call.body)
    seen = call.facts()
    assert seen.model == asked.get("model")
    # What came is what counts: loading a model is answered by one object, whatever was asked for.
    answered = call.status == 200
    assert seen.streamed is (call.content_type == NDJSON if answered else asked.get("stream", True))
    prompt = asked.get("prompt")
    if asked.get("messages"):
        prompt = asked["messages"][-1]["content"]
    assert seen.prompt == (prompt and prompt[:200])
    for key, value in asked.get("options", {}).items():
        assert (seen.options or {})[key] == value


@pytest.mark.parametrize("name", RECORDINGS)
def test_only_the_broken_ones_look_broken(name: str) -> None:
    call = recording(name)
    seen = call.facts()
    failed_in_stream = {"pull_offline", "push_offline", "runner_killed_midstream"}
    assert seen.error_in_stream is (name in failed_in_stream)
    assert not seen.incomplete
    refused_with_text = call.status >= 400 and bool(call.answer)
    assert (seen.error is not None) is (refused_with_text or seen.error_in_stream)


@pytest.mark.parametrize("name", RECORDINGS)
def test_nothing_of_a_real_server_is_misunderstood(name: str) -> None:
    assert recording(name).facts().not_understood == (name == "chat_bad_json")  # its request


@pytest.mark.parametrize(
    ("name", "error"),
    [
        ("chat_model_missing", "model 'nope' not found"),
        ("v1_chat_model_missing", "model 'nope' not found"),
        ("v1_messages_model_missing", "model 'nope' not found"),
        ("unknown_path", "404 page not found"),
        ("chat_wrong_method", "405 method not allowed"),
        ("delete_missing", "model 'copy2' not found"),
        (
            "runner_killed_midstream",
            "an error was encountered while running the model: unexpected EOF",
        ),
        (
            "generate_long_no_truncate",
            "request (7610 tokens) exceeds the available context size (512 tokens), "
            "try increasing it",
        ),
    ],
)
def test_error_is_the_servers_own_text(name: str, error: str) -> None:
    assert recording(name).facts().error == error


@pytest.mark.parametrize("name", RECORDINGS)
@pytest.mark.parametrize("size", [1, 7, 4096])
def test_cuts_change_nothing(name: str, size: int) -> None:
    for privacy in PRIVACIES[:: 3 if size == 1 else 1]:
        call = recording(name, privacy)
        assert call.facts(range(size, len(call.answer), size)) == call.facts()


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(RECORDINGS), st.sampled_from(PRIVACIES), st.data())
def test_random_cuts_change_nothing(name: str, privacy: Privacy, data: st.DataObject) -> None:
    call = recording(name, privacy)
    cuts = data.draw(st.lists(st.integers(0, len(call.answer)), max_size=8))
    assert call.facts(cuts) == call.facts()


@pytest.mark.parametrize("name", STREAMS[:4])
@pytest.mark.parametrize("privacy", PRIVACIES[:2])
def test_broken_off_anywhere_it_is_incomplete_and_never_wrong(name: str, privacy: Privacy) -> None:
    """A number that was cut must not be taken for the number."""
    call = recording(name, privacy)
    whole = call.facts()
    start_of_end = call.answer.rstrip(b"\n").rfind(b"\n") + 1
    for end in range(start_of_end, len(call.answer.rstrip(b"\n"))):
        call.answer, answer = call.answer[:end], call.answer
        call.complete = False
        seen = call.facts()
        call.answer = answer
        assert seen.incomplete
        assert (seen.input_tokens, seen.output_tokens, seen.total) == (None, None, None)
        assert seen.output_chunks == whole.output_chunks


def test_privacy_modes_of_a_recording() -> None:
    prompt = "Why is the sky blue?"
    by_mode = {mode: recording("generate_stream_warm", Privacy(mode)).facts() for mode in Mode}
    assert by_mode[Mode.TRUNCATE].prompt == by_mode[Mode.FULL].prompt == prompt
    assert by_mode[Mode.NONE].prompt is None
    assert by_mode[Mode.NONE].response is None
    for observation in (by_mode[Mode.HASH],):
        assert_is_digest(observation.prompt)
        assert_is_digest(observation.response)


def assert_is_digest(text: str | None) -> None:
    assert text is not None
    assert text.startswith("sha256:")
    assert len(text) == len("sha256:") + 16


def test_facts_that_do_not_exist_stay_unknown() -> None:
    assert recording("version").facts() == Observation()
    load = recording("generate_load_only").facts()
    assert (load.total, load.input_tokens, load.output_chunks) == (None, None, None)
    assert load.done_reason == "load"
