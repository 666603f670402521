"""The gaps between a stream's pieces: exact where they can be, bounded everywhere."""

from __future__ import annotations

import itertools
import random

import pytest

from ollama_proxy.gaps import PARTS, Gaps


def gaps_of(*seconds: float) -> Gaps:
    moment = 100.0
    gaps = Gaps(moment)
    moments = list(itertools.accumulate(seconds, initial=moment))[1:]
    # As they come: some at a time.
    for begin in range(0, len(moments), 3):
        gaps.add(moments[begin : begin + 3])
    return gaps


def test_one_piece_has_no_gap() -> None:
    gaps = Gaps(100.0)
    assert gaps.longest is None
    assert gaps.percentile(0.95) is None


def test_the_longest_is_exact_and_no_percentile_passes_it() -> None:
    gaps = gaps_of(0.25, 2.2, 0.25)
    assert gaps.longest == pytest.approx(2.2)
    assert gaps.percentile(1.0) == gaps.longest


def test_a_percentile_is_at_most_ten_percent_off() -> None:
    drawn = random.Random(4)
    seconds = [10 ** drawn.uniform(-5, 1) for _ in range(2000)]
    gaps = gaps_of(*seconds)
    for share in (0.05, 0.5, 0.95):
        true = sorted(seconds)[int(share * len(seconds)) - 1]
        found = gaps.percentile(share)
        assert found is not None
        assert 0.9 * true < found < 1.1 * true


def test_pieces_at_the_same_moment_and_a_clock_that_stands_still_count() -> None:
    gaps = gaps_of(0.0, 0.0, 0.5)
    assert gaps.longest == pytest.approx(0.5)
    assert (gaps.percentile(0.5) or 0) < 2e-6


def test_a_long_stream_takes_no_more_room_than_its_buckets() -> None:
    gaps = gaps_of(*[0.001 * (1 + n % 7) for n in range(10_000)])
    assert len(gaps._buckets) < 20


def test_the_pace_shows_where_a_stream_stood_still() -> None:
    pace = gaps_of(*[0.02] * 140, 3.2, *[0.02] * 100).pace()
    assert pace is not None
    assert (pace["longest_after"], pace["longest_at"]) == (141, 2.8)
    assert pace["seconds"] == 0.2
    assert sum(pace["pieces"]) == 242
    silent = pace["pieces"][15:29]
    assert silent == [0] * 14
    assert 0 not in pace["pieces"][:14] + pace["pieces"][31:]


@pytest.mark.parametrize("seconds", [0.0, 0.001, 0.9, 70.0])
def test_the_pace_of_a_long_stream_is_as_short_as_that_of_a_short_one(seconds: float) -> None:
    gaps = Gaps(100.0)
    gaps.add([100.0 + n * seconds for n in range(1, 3000)])
    one_by_one = Gaps(100.0)
    for n in range(1, 3000):
        one_by_one.add([100.0 + n * seconds])
    pace = gaps.pace()
    assert pace is not None
    assert pace == one_by_one.pace()
    assert sum(pace["pieces"]) == 3000
    assert len(pace["pieces"]) <= PARTS
    assert pace["seconds"] * len(pace["pieces"]) >= 2999 * seconds


def test_one_piece_has_no_pace() -> None:
    assert Gaps(100.0).pace() is None


def test_the_time_for_each_token_after_the_first() -> None:
    gaps = gaps_of(0.1, 0.1, 0.4)
    assert gaps.for_each(4) == pytest.approx(0.2)
    assert gaps.for_each(7) == pytest.approx(0.1)
    assert gaps.for_each(1) is None


def test_tokens_that_came_together_tell_nothing_of_their_pace() -> None:
    assert gaps_of(0.0001).for_each(40) is None
    assert gaps_of().for_each(2) is None
