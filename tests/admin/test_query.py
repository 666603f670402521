"""What a filter may say and how, how Ollama compares model names, and what an id is."""

from __future__ import annotations

import pytest

from ollama_proxy.admin.query import (
    FILTERS,
    ORDER,
    TEXT_LIMIT,
    ParameterError,
    is_id,
    parse_filter,
)
from ollama_proxy.exchange import model_key
from ollama_proxy.filters import matches, spellings
from ollama_proxy.ids import first_id, new_id
from ollama_proxy.records import Filter
from tests.storage.calls import NOON, make_call


@pytest.mark.parametrize(
    "name",
    ["llama3", "LLAMA3", "llama3:latest", "library/llama3", "registry.ollama.ai/library/llama3"],
)
def test_all_spellings_of_a_model_are_one(name: str) -> None:
    assert model_key(name) == "llama3:latest"
    assert same_model(name, "llama3")


def same_model(one: str | None, other: str) -> bool:
    return matches(make_call(model=one), Filter(model=other))


@pytest.mark.parametrize("name", ["llama3:8b", "me/llama3", "localhost:5000/llama3", "", None])
def test_other_models_stay_others(name: str | None) -> None:
    assert not same_model(name, "llama3")


def test_a_port_is_not_a_tag() -> None:
    assert model_key("host:5000/me/m") == "host:5000/me/m:latest"


def test_the_spellings_of_a_model_are_all_that_mean_it() -> None:
    assert spellings("llama3") == (
        "llama3",
        "llama3:latest",
        "library/llama3:latest",
        "library/llama3",
        "registry.ollama.ai/llama3:latest",
        "registry.ollama.ai/llama3",
        "registry.ollama.ai/library/llama3:latest",
        "registry.ollama.ai/library/llama3",
    )
    assert all(model_key(name) == "me/m:8b" for name in spellings("Me/m:8B"))


def test_ids_are_recognised() -> None:
    assert is_id(new_id(0.0))
    for text in ("", "x" * 26, "0" * 25, "0" * 27, "I" * 26):
        assert not is_id(text)


def test_a_filter_says_all_that_it_can() -> None:
    id = new_id(NOON)
    asked = {
        "limit": "7",
        "before": id,
        "client": "me",
        "model": "m",
        "state": "failed",
        "route": "/api/chat",
        "reason": "loop",
        "since": "2h",
        "until": str(NOON),
        "slower_than": "1.5",
        "ended_after": "3h",
        "finding": "01.0",
        "insight": "reload",
        "text": "Hello",
        "sort": "queue",
        "after": f"1.5_{id}",
    }
    assert asked.keys() == (FILTERS | ORDER).keys()
    assert parse_filter(asked, NOON) == Filter(
        limit=7,
        before=id,
        client="me",
        model="m",
        state="failed",
        route="/api/chat",
        reason="loop",
        since=first_id(NOON - 7200),
        until=first_id(NOON),
        slower_than=1.5,
        ended_after=NOON - 10_800,
        finding="01.0",
        insight="reload",
        text="Hello",
        sort="queue",
        after=f"1.5_{id}",
    )
    assert parse_filter({"sort": "newest"}, NOON) == Filter()
    day_before = first_id(NOON - 10_800 - 86_400)
    assert parse_filter({"ended_after": "3h"}, NOON).since == day_before
    assert parse_filter({}, NOON) == Filter()
    assert parse_filter({}, NOON, limit=5) == Filter(limit=5)


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("90s", NOON - 90),
        ("30m", NOON - 1800),
        ("2h", NOON - 7200),
        ("7d", NOON - 7 * 86400),
        ("1w", NOON - 7 * 86400),
        ("99999w", 0.0),
        ("1790000000", 1_790_000_000.0),
        ("1790000000.25", 1_790_000_000.25),
        ("0", 0.0),
        ("2026-09-21T14:13:20Z", 1_790_000_000.0),
        ("2026-09-21T14:13:20", 1_790_000_000.0),
        ("2026-09-21T16:13:20.5+02:00", 1_790_000_000.5),
        ("2026-09-21", 1_789_948_800.0),
    ],
)
def test_a_time_is_told_in_any_of_three_ways(text: str, moment: float) -> None:
    for name in ("since", "until"):
        assert getattr(parse_filter({name: text}, NOON), name) == first_id(moment)


TIME = "a time: 2h or 7d (ago), 2026-01-31T12:00:00Z, or seconds since 1970"


@pytest.mark.parametrize(
    ("name", "value", "right"),
    [
        ("limit", "0", "a whole number from 1 to 1000"),
        ("before", "01ABC", "the id of a call, 26 characters"),
        ("client", "", "the name of a client"),
        ("client", "a\0b", "the name of a client"),
        ("client", "\udcff", "the name of a client"),
        ("model", "x" * 1001, "the name of a model"),
        ("state", "done", "one of running, completed, "),
        ("state", "", "one of running, completed, "),
        ("route", "api/chat", "a path that begins with /"),
        ("reason", "none", "one of upstream_unreachable, "),
        ("since", "yesterday", TIME),
        ("since", "2 h", TIME),
        ("since", "-1", TIME),
        ("since", "1e9", TIME),
        ("since", "\u0663h", TIME),
        ("since", "999999999999", TIME),
        ("until", "2026-13-01", TIME),
        ("until", "1901-01-01", TIME),
        ("slower_than", "fast", "a number of seconds, 0 or more"),
        ("slower_than", "-1", "a number of seconds, 0 or more"),
        ("slower_than", "nan", "a number of seconds, 0 or more"),
        ("slower_than", "inf", "a number of seconds, 0 or more"),
        ("insight", "rel", "one of prompt_cut, "),
        ("sort", "prompt", "one of newest, duration, queue, time_to_first_token, output_tokens"),
        ("after", "", "as the link to the next page has"),
        ("after", "1.5", "as the link to the next page has"),
        ("after", "1.5_x", "as the link to the next page has"),
        ("after", f"nan_{'0' * 26}", "as the link to the next page has"),
        ("after", f"inf_{'0' * 26}", "as the link to the next page has"),
        ("text", "", f"1 to {TEXT_LIMIT} characters, none of them NUL"),
        ("text", "x" * (TEXT_LIMIT + 1), f"1 to {TEXT_LIMIT} characters, none of them NUL"),
        ("text", "a\0", f"1 to {TEXT_LIMIT} characters, none of them NUL"),
    ],
)
def test_a_wrong_value_is_named_with_what_would_be_right(name: str, value: str, right: str) -> None:
    with pytest.raises(ParameterError) as caught:
        parse_filter({name: value}, NOON)
    line = str(caught.value)
    assert line.startswith(f"{name}={value[:100]}: must be {right}")
    assert "\n" not in line


def test_an_export_may_ask_for_more_at_once() -> None:
    assert parse_filter({"limit": "5000"}, NOON, most=9999).limit == 5000
    with pytest.raises(ParameterError, match="from 1 to 9999"):
        parse_filter({"limit": "10000"}, NOON, most=9999)


@pytest.mark.parametrize("place", ["9" * 19, "-" + "9" * 19, "1e300", "nan", "inf", ""])
def test_a_place_that_no_call_can_have_is_refused(place: str) -> None:
    """SQLite holds no larger numbers: it would be taken for a store that cannot be read."""
    id = first_id(NOON)
    with pytest.raises(ParameterError, match="after"):
        parse_filter({"sort": "queue", "after": f"{place}_{id}"}, NOON)
