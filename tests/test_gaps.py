"""The gaps between a stream's pieces: exact where they can be, bounded everywhere."""

from __future__ import annotations

import itertools
import random

import pytest

from ollama_proxy.gaps import Gaps


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


def test_the_time_for_each_token_after_the_first() -> None:
    gaps = gaps_of(0.1, 0.1, 0.4)
    assert gaps.for_each(4) == pytest.approx(0.2)
    assert gaps.for_each(7) == pytest.approx(0.1)
    assert gaps.for_each(1) is None


def test_tokens_that_came_together_tell_nothing_of_their_pace() -> None:
    assert gaps_of(0.0001).for_each(40) is None
    assert gaps_of().for_each(2) is None
