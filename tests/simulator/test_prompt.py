"""How long prompts are cut: the arithmetic of Ollama, and what a client sees of it."""

from __future__ import annotations

import json

import pytest

from ollama_proxy.simulator.calls import Call, Message, Refused
from ollama_proxy.simulator.prompt import Prompt, prepare

from .raw import simulated

SENTENCE = (
    "The market opened higher today and the price moved in a narrow range "
    "while traders waited for news. "
)


def generated(text: str, num_ctx: int, keep: int = 4, truncate: bool = True) -> Prompt:
    call = Call(model="m", messages=[Message("user", text)], chat=False, truncate=truncate)
    return prepare(call, "", num_ctx, keep)


def test_counts_as_the_recorded_model_did() -> None:
    assert generated("Why is the sky blue?", 4096).tokens == 15
    assert generated("Hello!", 4096).tokens == 11
    assert generated(SENTENCE * 400, 1 << 17).tokens == 7610


@pytest.mark.parametrize(
    ("num_ctx", "keep", "left"), [(512, 4, 258), (2048, 4, 1026), (512, 24, 268), (512, -1, 511)]
)
def test_a_long_prompt_is_cut_to_half(num_ctx: int, keep: int, left: int) -> None:
    cut = generated(SENTENCE * 400, num_ctx, keep)
    assert (cut.tokens, cut.whole) == (left, 7610)


def test_a_prompt_of_num_ctx_tokens_is_cut_and_one_less_passes() -> None:
    words = "word" + " word" * (255 - 9)
    assert generated(words, 256).tokens == 130
    assert generated(words, 257).tokens == 256


def test_without_truncation_it_is_refused_with_both_numbers() -> None:
    with pytest.raises(Refused) as refused:
        generated(SENTENCE * 400, 512, truncate=False)
    error = json.loads(refused.value.message)["error"]
    assert (error["n_prompt_tokens"], error["n_ctx"]) == (7610, 512)


def test_a_chat_keeps_the_system_message_and_the_newest() -> None:
    turns = [Message("user", f"question {n} " + "word " * 100) for n in range(10)]
    call = Call(model="m", messages=[Message("system", "Be brief."), *turns])
    prompt = prepare(call, "", 256, 4)
    assert "Be brief." in prompt.text
    assert "question 9" in prompt.text
    assert "question 8" in prompt.text
    assert "question 7" not in prompt.text
    assert prompt.tokens == prompt.whole <= 256


def test_a_chat_whose_last_message_does_not_fit_is_cut_to_half() -> None:
    call = Call(model="m", messages=[Message("user", "a"), Message("user", SENTENCE * 50)])
    assert prepare(call, "", 256, 4).tokens == 130


def test_the_models_own_system_prompt_counts() -> None:
    call = Call(model="m", messages=[Message("user", "Hello!")])
    assert prepare(call, "Be brief.", 4096, 4).tokens == 11 + 3 + 5


def test_images_are_never_cut() -> None:
    call = Call(model="m", messages=[Message("user", SENTENCE * 50, images=1)])
    assert prepare(call, "", 256, 4).tokens > 900


async def test_the_cut_is_silent_and_the_context_tells() -> None:
    async with simulated() as client:
        body = {"model": "smollm2", "prompt": SENTENCE * 400, "options": {"num_ctx": 512}}
        last = (await client.ask("/api/generate", body)).lines()[-1]
        assert last["prompt_eval_count"] == 258
        assert len(last["context"]) > 7000


async def test_v1_cuts_by_the_servers_context_and_knows_no_truncate() -> None:
    async with simulated() as client:
        body = {"model": "smollm2", "truncate": False, "options": {"num_ctx": 512}}
        messages = [{"role": "user", "content": SENTENCE * 400}]
        response = await client.ask("/v1/chat/completions", body | {"messages": messages})
        assert response.json()["usage"]["prompt_tokens"] == 4096 // 2 + 2


async def test_without_shift_the_answer_ends_where_the_context_does() -> None:
    async with simulated() as client:
        body = {"model": "smollm2", "prompt": "word " * 230, "shift": False}
        body["options"] = {"num_ctx": 256}
        last = (await client.ask("/api/generate", body)).lines()[-1]
        assert last["done_reason"] == "length"
        assert last["prompt_eval_count"] + last["eval_count"] == 256
