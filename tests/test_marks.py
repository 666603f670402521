"""What counts as a change in Ollama, and what is only seen for the first time."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from ollama_proxy.ids import iso
from ollama_proxy.marking import Marking
from ollama_proxy.marks import DIGEST, MAX_KNOWN, VERSION, Marks
from ollama_proxy.records import Mark, ModelInfo, UpstreamHealth
from tests.harness import Connection, ScriptedUpstream, running_proxy

NOW = 1_790_000_000.0


def seen(
    version: str | None = "0.33.0", *, up: bool = True, **digests: str | None
) -> UpstreamHealth:
    models = [ModelInfo(name=name, digest=digest) for name, digest in digests.items()]
    return UpstreamHealth(up=up, version=version, models=models)


def told(marks: Sequence[Mark]) -> list[tuple[str, str, str | None, str]]:
    return [(mark.kind, mark.subject, mark.old, mark.new) for mark in marks]


def test_what_is_seen_first_is_known_but_has_not_changed() -> None:
    marks = Marks({})
    first = marks.looked(seen(llama="a"), NOW)
    assert told(first) == [(VERSION, "ollama", None, "0.33.0"), (DIGEST, "llama", None, "a")]
    assert marks.looked(seen(llama="a"), NOW) == []
    assert marks.changed == {}


def test_another_version_and_another_digest_are_changes() -> None:
    marks = Marks({(VERSION, "ollama"): "0.32.0", (DIGEST, "llama"): "a", (DIGEST, "qwen"): "q"})
    (version, digest) = marks.looked(seen(llama="b", qwen="q"), NOW)
    assert told([version, digest]) == [
        (VERSION, "ollama", "0.32.0", "0.33.0"),
        (DIGEST, "llama", "a", "b"),
    ]
    assert (digest.at, marks.changed) == (iso(NOW), {"llama": iso(NOW)})
    assert digest.id > version.id


def test_what_is_not_told_has_not_changed() -> None:
    known = {(VERSION, "ollama"): "0.33.0", (DIGEST, "llama"): "a"}
    marks = Marks(known)
    for health in (seen(None, llama=None), seen(), seen("9", up=False, llama="b")):
        assert marks.looked(health, NOW) == []


def test_a_model_that_comes_back_as_another_has_changed() -> None:
    marks = Marks({})
    marks.looked(seen(llama="a"), NOW)
    marks.looked(seen(), NOW)
    assert told(marks.looked(seen(llama="b"), NOW)) == [(DIGEST, "llama", "a", "b")]


def test_past_changes_tell_when_the_latest_was() -> None:
    past = [
        Mark(id=str(n), at=iso(NOW + n), kind=kind, subject=name, old="a", new="b")
        for n, kind, name in ((3, VERSION, "ollama"), (2, DIGEST, "llama"), (1, DIGEST, "llama"))
    ]
    assert Marks({}, past).changed == {"llama": iso(NOW + 2)}


def test_names_without_end_are_bounded() -> None:
    marks = Marks({})
    many = [ModelInfo(name=f"m{n}", digest="a") for n in range(MAX_KNOWN + 10)]
    assert len(marks.looked(UpstreamHealth(up=True, models=many), NOW)) == MAX_KNOWN
    assert marks.looked(UpstreamHealth(up=True, models=many), NOW) == []


async def test_what_the_store_does_not_take_is_tried_again_at_the_next_look(
    caplog: pytest.LogCaptureFixture,
) -> None:
    kept: list[Mark] = []
    full = True

    def write(marks: Sequence[Mark]) -> None:
        if full:
            raise OSError("disk full")
        kept.extend(marks)

    marking = Marking(Marks({(DIGEST, "llama"): "a"}), write, now=lambda: NOW)
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            marking.looked(seen(None, llama="b"))
            await marking.stop()
    assert (kept, len(caplog.records)) == ([], 1)
    full = False
    for _ in range(2):
        marking.looked(seen(None, llama="b"))
        await marking.stop()
    assert told(kept) == [(DIGEST, "llama", "a", "b")]
    assert marking.changed == {"llama": iso(NOW)}


async def test_a_stop_without_a_look_has_nothing_to_wait_for() -> None:
    async with asyncio.timeout(1):
        await Marking(Marks({}), lambda marks: None).stop()


async def test_a_model_pulled_anew_while_the_proxy_was_down_is_told(tmp_path: Path) -> None:
    answers: dict[str, Any] = {
        "/api/version": {"version": "0.33.0"},
        "/api/tags": {"models": [{"name": "llama", "digest": "a"}]},
        "/api/ps": {"models": []},
    }

    async def ollama(upstream: Connection) -> None:
        path = (await upstream.read_head()).split()[1].decode()
        body = json.dumps(answers[path]).encode()
        head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\n\r\n"
        await upstream.send(head.encode() + body)

    async with ScriptedUpstream(ollama) as upstream:
        async with running_proxy(upstream.url, tmp_path) as proxy:
            await proxy.app.first_look()
            assert await proxy.get("marks") == []
        answers["/api/tags"]["models"][0]["digest"] = "b"
        async with running_proxy(upstream.url, tmp_path) as proxy:
            await proxy.app.first_look()
        async with running_proxy(upstream.url, tmp_path) as proxy:
            await proxy.app.first_look()
            (mark,) = await proxy.get("marks")
            (model,) = await proxy.get("models")
    assert (mark["kind"], mark["subject"], mark["old"], mark["new"]) == (DIGEST, "llama", "a", "b")
    assert model["changed_at"] == mark["at"]
