"""Why a model was loaded again: each cause that was tried on a real Ollama, and what is none."""

from __future__ import annotations

from typing import Any

import pytest

from ollama_proxy.insights.reloads import (
    MAX_MODELS,
    Ended,
    Reload,
    Reloads,
    keep_alive_seconds,
)

MODEL = "m:latest"


def call(
    options: dict[str, Any] | None = None,
    *,
    load: float | None = 0.002,
    at: float = 0.0,
    client: str = "a.py",
    model: str = MODEL,
    **more: Any,
) -> Ended:
    context = more.pop("context", (options or {}).get("num_ctx", 4096))
    return Ended(
        model=model,
        client=client,
        options=options,
        context=context,
        load=load,
        arrived=at,
        ended=at + (load or 0.0) + 0.5,
        **more,
    )


def after(first: dict[str, Any] | None, second: dict[str, Any] | None) -> Reload | None:
    reloads = Reloads()
    assert reloads.ended(call(first, load=1.0)) is None  # nothing is known of before
    return reloads.ended(call(second, load=1.5, at=10.0, client="b.py"))


@pytest.mark.parametrize(
    ("first", "second", "name"),
    [
        ({"num_ctx": 4096}, {"num_ctx": 8192}, "num_ctx"),
        (None, {"num_ctx": 8192}, "num_ctx"),
        ({"num_ctx": 8192}, {}, "num_ctx"),
        ({}, {"num_batch": 256}, "num_batch"),
        ({"num_thread": 2}, {}, "num_thread"),
        ({"use_mmap": True}, {"use_mmap": False}, "use_mmap"),
        ({}, {"use_mmap": False}, "use_mmap"),
        ({"main_gpu": 0}, {}, "main_gpu"),
        ({}, {"draft_num_predict": 4}, "draft_num_predict"),
        ({}, {"num_gpu": 0}, "num_gpu"),
        ({"num_gpu": 0}, {"num_gpu": 20}, "num_gpu"),
        ({}, {"shift": False}, "shift"),
        ({"shift": False}, None, "shift"),
    ],
)
def test_options_that_reload(
    first: dict[str, Any] | None, second: dict[str, Any] | None, name: str
) -> None:
    found = after(first, second)
    assert found is not None
    assert (found.cause, found.by, found.seconds, list(found.changed)) == (
        "options",
        "a.py",
        1.5,
        [name],
    )


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ({"num_batch": 512}, {}),
        ({"temperature": 0.1, "seed": 4, "num_keep": 8}, {"num_predict": 3, "stop": ["x"]}),
        ({"num_gpu": 0}, {}),
        ({"num_gpu": 0}, {"num_gpu": -1}),
        ({}, {"shift": True}),
        ({}, {"keep_alive": "30m", "think": True, "format": "json"}),
    ],
)
def test_options_that_reload_nothing(first: dict[str, Any], second: dict[str, Any]) -> None:
    found = after(first, second)
    assert found is not None and (found.cause, found.changed) == ("unknown", {})


def test_a_context_beyond_what_the_model_was_made_for_is_the_same() -> None:
    reloads = Reloads()
    reloads.ended(call({"num_ctx": 9000}, load=1.0, context=8192))
    found = reloads.ended(call({"num_ctx": 16_384}, load=1.0, at=9, context=8192))
    assert found is not None and found.cause == "unknown"


def test_num_gpu_stays_as_it_was_set_until_another_is_named() -> None:
    reloads = Reloads()
    reloads.ended(call({"num_gpu": 0}, load=1.0))
    assert reloads.ended(call({}, at=5)) is None
    found = reloads.ended(call({"num_gpu": 0}, load=1.0, at=10))
    assert found is not None and found.cause == "unknown"


def test_who_waits_for_anothers_load_has_caused_none() -> None:
    reloads = Reloads()
    reloads.ended(call({"num_ctx": 2048}, load=1.0))
    first = reloads.ended(call({"num_ctx": 1024}, load=1.5, at=10, loaded=11.5))
    assert first is not None and first.cause == "options"
    # It came while that load was on its way, with the same options.
    assert reloads.ended(call({"num_ctx": 1024}, load=1.0, at=10.5, loaded=11.5)) is None
    other = reloads.ended(call({"num_ctx": 2048}, load=9.0, at=11, loaded=20.0))
    assert other is not None and other.cause == "options"


def test_what_a_running_call_would_have_loaded() -> None:
    reloads = Reloads()
    asks: tuple[dict[str, Any], int | None] = ({"num_ctx": 1024}, 1024)
    assert not reloads.would_load(MODEL, asks, None)  # nothing is known of it
    reloads.ended(call({"num_ctx": 2048, "num_gpu": 0}, load=1.0, context=2048))
    assert reloads.would_load(MODEL, asks, None)
    assert not reloads.would_load(MODEL, ({"num_ctx": 2048, "seed": 1}, 2048), None)
    # One that is answered now tells better how it is loaded; what it leaves out stays as it was.
    assert not reloads.would_load(MODEL, asks, asks)
    assert not reloads.would_load(MODEL, (asks[0] | {"num_gpu": 0}, 1024), asks)
    assert reloads.would_load(MODEL, (asks[0] | {"num_gpu": 9}, 1024), asks)
    reloads.ended(call({"num_ctx": 2048}, unloads=True, at=5))
    assert not reloads.would_load(MODEL, asks, None)  # it is not in memory: all have to load it
    assert reloads.would_load(MODEL, asks, ({}, 4096))


def test_a_warm_call_is_no_reload_whatever_it_asks_for() -> None:
    reloads = Reloads()
    reloads.ended(call({}, load=1.0))
    assert reloads.ended(call({"num_ctx": 8192}, at=5)) is None


def test_where_a_warm_load_takes_long_a_reload_must_take_longer() -> None:
    reloads = Reloads()
    for number in range(5):
        reloads.ended(call(load=0.03, at=float(number)))
    assert reloads.ended(call(load=0.2, at=10)) is None
    assert reloads.ended(call(load=0.4, at=20)) is not None


@pytest.mark.parametrize(
    ("between", "cause", "by"),
    [
        (call(at=3, unloads=True, load=None, client="c.py"), "unloaded", "c.py"),
        (call(at=3, unloads=True, client="c.py"), "unloaded", "c.py"),
        (call(at=3, failure="runner_died", load=None, client="c.py"), "runner_died", "c.py"),
        (call(at=3, failure="left", load=None, client="c.py"), "load_aborted", "c.py"),
        (call(at=3, failure="stopped", load=None, client="c.py"), "load_stopped", "c.py"),
        (call(at=3, load=1.0, model="other:1b"), "evicted", "other:1b"),
    ],
    ids=["unload", "keep_alive 0", "died", "left", "stopped", "evicted"],
)
def test_what_took_the_model_out_of_memory(between: Ended, cause: str, by: str) -> None:
    reloads = Reloads()
    reloads.ended(call(load=1.0))
    reloads.ended(between)
    assert reloads.ended(call(load=1.5, at=10, gone=9.0)) == Reload(cause, 1.5, by=by)
    assert reloads.ended(call(load=1.5, at=20)) == Reload("unknown", 1.5)


def test_a_model_that_no_look_found_gone_was_put_out_by_none() -> None:
    for gone in (None, 1.0):  # before its last call ended
        reloads = Reloads()
        reloads.ended(call(load=1.0))
        reloads.ended(call(at=3, load=1.0, model="other:1b"))
        assert reloads.ended(call(load=1.5, at=10, gone=gone)) == Reload("unknown", 1.5)


def test_after_a_restart_of_ollama_nothing_is_in_memory() -> None:
    reloads = Reloads()
    reloads.ended(call({"num_ctx": 2048}, load=1.0))
    reloads.restarted()
    found = reloads.ended(call({"num_ctx": 1024}, load=1.5, at=10))
    assert found == Reload("ollama_restarted", 1.5)


def test_a_model_that_nobody_used_for_its_time() -> None:
    reloads = Reloads()
    reloads.ended(call(load=1.0))
    reloads.looked({MODEL: 300.0, "never:called": 1.0})
    reloads.ended(call(load=1.0, at=100, model="other:1b"))
    assert reloads.ended(call(load=1.5, at=400)) == Reload("expired", 1.5)


@pytest.mark.parametrize(
    ("keep_alive", "later", "cause"),
    [(2.0, 10, "expired"), (20.0, 10, "unknown"), (-1.0, 9999, "unknown"), (None, 10, "unknown")],
)
def test_a_call_says_itself_how_long_the_model_stays(
    keep_alive: float | None, later: float, cause: str
) -> None:
    reloads = Reloads()
    reloads.ended(call(load=1.0))
    reloads.ended(call(at=3, keep_alive=keep_alive))
    reloads.ended(call(at=4))  # it is sticky
    found = reloads.ended(call(load=1.5, at=4 + later))
    assert found == Reload(cause, 1.5)


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ("5m", 300.0),
        ("1h30m", 5400.0),
        ("-1s", -1.0),
        ("250ms", 0.25),
        ("1.5s", 1.5),
        (30, 30.0),
        (-1, -1.0),
        (0, 0.0),
        ("0", 0.0),
        (10**400, 1e9),
        ("", None),
        ("soon", None),
        ("5 m", None),
        (True, None),
        (None, None),
    ],
)
def test_a_keep_alive_as_a_request_has_it(asked: object, expected: float | None) -> None:
    assert keep_alive_seconds(asked) == expected


def test_a_call_that_tells_no_load_may_have_changed_what_is_loaded() -> None:
    reloads = Reloads()
    reloads.ended(call({"num_ctx": 2048}, load=1.0))
    assert reloads.ended(call(None, load=None, at=5, served=True, client="v1.py")) is None
    found = reloads.ended(call({"num_ctx": 2048}, load=1.5, at=10))
    assert found is not None
    assert (found.cause, found.by, found.changed) == ("options", "v1.py", {"num_ctx": (None, 2048)})


def test_contexts_that_nobody_asked_for_are_told_as_they_are() -> None:
    reloads = Reloads()
    reloads.ended(call(load=1.0, context=4096))
    found = reloads.ended(call(load=1.5, at=10, context=8192))
    assert found is not None and found.changed == {"num_ctx": (4096, 8192)}


def test_what_something_else_loaded_is_put_down_to_no_client() -> None:
    reloads = Reloads()
    reloads.ended(call({"num_ctx": 2048}, load=1.0))
    found = reloads.ended(call({"num_ctx": 8192}, load=1.5, at=10, client="b.py", outside=16_384))
    assert found == Reload("bypass", 1.5, {"num_ctx": (16_384, 8192)})
    assert reloads.ended(call({"num_ctx": 8192}, at=20, outside=16_384)) is None  # it was loaded


def test_it_remembers_no_more_models_than_it_may() -> None:
    reloads = Reloads()
    for number in range(MAX_MODELS + 10):
        reloads.ended(call(model=f"m{number}"))
    assert len(reloads._last) == MAX_MODELS
