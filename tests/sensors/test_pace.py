"""How a thread works beside the event loop: its rests."""

from __future__ import annotations

import pytest

from ollama_proxy.sensors.pace import REST_SECONDS, SAVED_SECONDS, SHARE, Allowance, Pace


def test_what_may_be_spent_is_saved_up_to_a_limit_and_then_rested_for() -> None:
    allowance = Allowance(100.0, share=0.05, most=0.25)
    assert allowance.pause(0.25, 100.0) == 0
    assert allowance.pause(0.01, 100.0) == pytest.approx(0.2)
    assert allowance.pause(0.0, 100.2) == pytest.approx(0)
    assert allowance.pause(0.06, 101.2) == pytest.approx(0.2)
    assert allowance.pause(0.3, 9999.0) == pytest.approx(1.0)


def test_on_average_no_more_than_the_share_of_a_core_is_spent() -> None:
    allowance, now, spent = Allowance(0.0), 0.0, 0.0
    while now < 100:
        spent += 0.02
        now += 0.02 + allowance.pause(0.02, now + 0.02)
    assert spent <= 100 * SHARE + SAVED_SECONDS + 0.02


class Worked:
    """A thread whose every step takes as long as it is told."""

    def __init__(self) -> None:
        self.now = self.cpu = 0.0
        self.rests: list[float] = []
        self.pace = Pace(lambda: self.now, lambda: self.cpu, self._sleep)

    def work(self, seconds: float) -> None:
        self.now += seconds
        self.cpu += seconds
        self.pace.if_due()

    def _sleep(self, seconds: float) -> None:
        self.now += seconds
        self.rests.append(seconds)


def test_after_each_short_step_there_is_a_short_rest() -> None:
    worked = Worked()
    worked.pace.begin()
    for _ in range(10):
        worked.work(0.00004)
    assert worked.rests == [REST_SECONDS] * 3


def test_much_at_once_is_stretched_out() -> None:
    """So many callers at once that the event loop would feel it: it comes first."""
    worked = Worked()
    worked.pace.begin()
    while worked.cpu < 0.12:
        worked.work(0.0001)
    assert worked.now == pytest.approx((0.12 - SAVED_SECONDS) / SHARE, rel=0.02)
    assert max(worked.rests) == pytest.approx(0.0001 / SHARE, rel=0.1)


def test_what_has_not_begun_does_not_rest() -> None:
    worked = Worked()
    worked.work(1.0)
    assert worked.rests == []
