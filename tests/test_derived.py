"""What follows from a call's record: None where it does not, and never below zero."""

from __future__ import annotations

from typing import Any

import pytest

from ollama_proxy.derived import KEYS, view
from ollama_proxy.exchange import Call
from tests.storage.calls import make_call

PHASES = {"duration": 2.0, "queue": 0.3, "load": 0.1, "prefill": 0.4, "decode": 1.0}


def told(**fields: Any) -> dict[str, Any]:
    return view(make_call(**fields))


def test_the_fields_come_first_as_they_are() -> None:
    call = make_call(options={"seed": 1}, streamed=True)
    row = view(call)
    assert tuple(row) == KEYS
    assert [row[name] for name in Call.__struct_fields__] == [
        getattr(call, name) for name in Call.__struct_fields__
    ]


def test_the_rest_is_what_no_phase_explains() -> None:
    assert told(**PHASES)["rest"] == pytest.approx(0.2)
    assert told(**PHASES, connect=0.05)["rest"] == pytest.approx(0.15)
    assert told(**PHASES | {"load": None})["rest"] == pytest.approx(0.3)


def test_the_rest_is_never_negative() -> None:
    assert told(**PHASES | {"duration": 1.7999})["rest"] == 0.0


@pytest.mark.parametrize("missing", ["duration", "queue", "prefill", "decode"])
def test_without_its_phases_a_call_has_no_rest(missing: str) -> None:
    assert told(**PHASES | {missing: None})["rest"] is None


def test_a_running_call_has_no_rest_and_no_estimate() -> None:
    row = told(**PHASES, state="running", output_chunks=7)
    assert (row["rest"], row["output_tokens_estimated"]) == (None, None)


@pytest.mark.parametrize(
    ("fields", "estimated"),
    [
        ({"output_chunks": 7}, 7),
        ({"output_chunks": 7, "state": "cancelled"}, 7),
        ({"output_chunks": 7, "output_tokens": 8}, None),
        ({"output_chunks": 7, "output_tokens": 0}, None),
        ({"output_chunks": 7, "tool_calls": 1}, None),
        ({"output_chunks": 0}, None),
        ({"output_chunks": None}, None),
    ],
)
def test_tokens_are_estimated_only_where_a_stream_told_none(
    fields: dict[str, Any], estimated: int | None
) -> None:
    assert told(**fields)["output_tokens_estimated"] == estimated


def test_prefills_speed() -> None:
    assert told(input_tokens=300, prefill=0.5)["prefill_tokens_per_second"] == 600
    assert told(input_tokens=300)["prefill_tokens_per_second"] is None
    assert told(input_tokens=300, prefill=0.0)["prefill_tokens_per_second"] is None
    assert told(prefill=0.5)["prefill_tokens_per_second"] is None


def test_what_was_found_of_a_call_is_told_by_kind_the_worst_first() -> None:
    cut = {"cut": True, "tokens_lost": 9, "estimated": False, "rule": "r", "context": 4096}
    reload = {"cause": "expired", "seconds": 5.0, "changed": {}, "by": None}
    waste = {"kind": "repeated", "tokens": 3, "seconds": 9.0, "estimated": False}
    found = told(insights={"reload": reload, "waste": waste, "prompt_cut": cut})["found"]
    assert found == ["prompt_cut", "repeated", "reload_expired"]
    assert told(insights={"prompt_cut": cut | {"cut": False}})["found"] is None
    assert told()["found"] is None
