"""The client's types are the REST's: made from its description, and no answer loses by them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from ollama_proxy.client import asking
from ollama_proxy.client.answers import EVENTS
from tests.admin.support import EventReader
from tests.admin.test_reference import used
from tests.client.generating import FOLDER, sources


@pytest.mark.parametrize("name", sources())
def test_the_types_are_made_from_the_description(name: str) -> None:
    """If not: python -m tests.client.generating"""
    assert (FOLDER / name).read_text() == sources()[name]


def known(value: Any) -> Any:
    """Without what is null, which is the same as not there."""
    if isinstance(value, dict):
        return {name: known(one) for name, one in value.items() if one is not None}
    return [known(one) for one in value] if isinstance(value, list) else value


async def test_no_answer_loses_anything(tmp_path: Path) -> None:
    async with used(tmp_path) as seen:
        calls = await seen.json("/api/requests")
        finding = (await seen.json("/api/insights"))[0]["id"]
        asks: list[asking.Ask[Any]] = [
            *(asking.STATUS, asking.HEALTH, asking.ACTIVE),
            *(asking.STATS, asking.MODELS, asking.CLIENTS),
            *(asking.requests(None, {}), asking.insights(None, {}), asking.series({})),
            *(asking.request(call["id"]) for call in calls),
            asking.finding(finding),
        ]
        for ask in asks:
            status, _, body = await seen.got(f"/{ask.path}")
            assert status == 200, ask.path
            answer = asking.read(ask, "", body)
            again = json.loads(msgspec.json.encode(answer))
            assert known(again) == known(json.loads(body)), ask.path
        async with seen.client.get(f"{seen.mounts[0]}/api/events") as stream:
            event = await EventReader(stream).next()
            told = msgspec.convert({"data": event.data}, EVENTS[event.kind])
            assert known(json.loads(msgspec.json.encode(told.data))) == known(event.data)
