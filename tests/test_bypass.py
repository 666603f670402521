"""Calls that go round the proxy: what gives them away, and what does not."""

from __future__ import annotations

from ollama_proxy.bypass import KEPT, Bypass, Ends
from ollama_proxy.records import ModelInfo

OLLAMA = ("127.0.0.1", 11434)


def connection(port: int) -> Ends:
    return (("127.0.0.1", port), OLLAMA)


def model(name: str, expires: str | None = "2026-11-24T10:00:00Z", digest: str = "") -> ModelInfo:
    loaded = expires is not None
    return ModelInfo(name=name, digest=digest or name, loaded=loaded, expires_at=expires)


def names(bypass: Bypass) -> list[str]:
    return [one["name"] for one in bypass.view()["models"]]


def test_a_connection_counts_once_and_ours_never() -> None:
    bypass = Bypass()
    ours = {("127.0.0.1", 50_000)}
    assert bypass.new([connection(50_000), connection(50_001)], ours) == [connection(50_001)]
    assert bypass.new([connection(50_001)], ours) == []
    assert bypass.new([], ours) == []
    assert bypass.new([connection(50_001)], ours) == [connection(50_001)]


def test_programs_are_counted_the_latest_first_and_bounded() -> None:
    bypass = Bypass()
    for number in range(2 * KEPT):
        bypass.connected(f"p{number}", "then")
    bypass.connected("p150", "now")
    bypass.connected(None, "now")
    programs = bypass.view()["programs"]
    seen = {"count": 1, "first_seen": "now", "last_seen": "now"}
    assert programs[0] == {"name": "(unknown)", **seen}
    assert programs[1] == {"name": "p150", **seen, "count": 2, "first_seen": "then"}
    assert len(programs) == KEPT


def test_a_model_that_nobody_here_asked_for_was_loaded_by_somebody_else() -> None:
    bypass = Bypass()
    bypass.looked([model("a:1", None)], [model("a:1")], set(), "now")
    assert names(bypass) == ["a:1"]


def test_a_model_that_is_kept_longer_was_used() -> None:
    bypass = Bypass()
    before, after = model("a:1"), model("a:1", "2026-11-24T10:05:00Z")
    bypass.looked([before], [before], set(), "now")
    assert names(bypass) == []
    bypass.looked([before], [after], set(), "now")
    assert names(bypass) == ["a:1"]


def test_what_calls_here_named_is_explained() -> None:
    bypass = Bypass()
    after = [model("a:latest"), model("b:1", digest="same"), model("alias:1", None, digest="same")]
    bypass.looked([], after, {"a:latest", "alias:1"}, "now")
    assert names(bypass) == []


def test_a_model_that_goes_is_nobodys_use() -> None:
    bypass = Bypass()
    bypass.looked([model("a:1")], [model("a:1", None)], set(), "now")
    assert names(bypass) == []
