"""No news is not good news: what was told long ago ends no hold."""

from __future__ import annotations

import pytest

from pytest_canary.ports import Role, Sample
from pytest_canary.rollout.news import held_back, old
from pytest_canary.verdict import Decision, Step

BASELINE, CANARY = Role.BASELINE, Role.CANARY
GO, WAIT = Decision(Step.ADVANCE, "proved"), Decision(Step.WAIT, "waits for 3 s of hold")


@pytest.mark.parametrize(
    ("at", "poll", "interval", "said"),
    [
        (100.0, 1.0, 0.0, ""),
        (94.0, 1.0, 0.0, ""),
        (92.0, 1.0, 0.0, "what is told of the canary is 8 s old"),
        (92.0, 5.0, 0.0, ""),
        (70.0, 1.0, 15.0, ""),
        (60.0, 1.0, 15.0, "what is told of the canary is 40 s old"),
        (92.0, 1.0, None, "what is told of the canary is 8 s old"),
    ],
)
def test_how_old_news_may_be_hangs_on_how_often_there_is_any(at, poll, interval, said):
    """A Prometheus that scrapes every 15 s is not late when it is 20 s behind."""
    samples = {BASELINE: Sample(100.0), CANARY: Sample(at)}

    assert old(samples, [BASELINE, CANARY], 100.0, poll, interval) == said
    assert old(samples, [BASELINE], 100.0, poll, interval) == ""


def test_a_hold_that_would_be_over_waits_for_news_until_its_deadline():
    """And ends as every hold does that did not get what it waited for."""
    assert held_back(GO, "", 70.0, 60.0) == GO
    assert held_back(WAIT, "old", 70.0, 60.0) == WAIT
    assert held_back(GO, "old", 50.0, 60.0) == Decision(Step.WAIT, "waits for news: old")
    assert held_back(GO, "old", 70.0, None) == Decision(Step.WAIT, "waits for news: old")
    assert held_back(GO, "old", 70.0, 60.0) == Decision(Step.STOP, "deadline of 60 s reached: old", True)
