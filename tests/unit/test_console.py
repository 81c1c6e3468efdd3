"""The live line of a narrow terminal, and the lines of a log."""

import re

import pytest

from pytest_canary.session.console import fitted

HOLD = (
    "canary 25% (seen 24.8%) waits for 12 s of hold and 40 more canary requests | "
    "canary 310 requests, 3 errors | baseline 900 requests, 9 errors"
)
READY = (
    "canary gateway:v2 to be ready: pod gateway-canary-7d9f finds no node: 0/3 nodes are available: "
    "3 insufficient memory, 293 s left"
)


def test_a_line_that_fits_is_left_alone():
    """To the last column."""
    assert fitted(HOLD, len(HOLD)) == HOLD


def test_stage_seen_share_and_decision_stay_and_the_counts_go():
    """At 80 columns, by whole words."""
    assert fitted(HOLD, 79) == "canary 25% (seen 24.8%) waits for 12 s of hold and 40 more canary requests ..."


def test_how_long_it_may_still_take_stays_at_the_end():
    """What is waited for is told as far as there is room."""
    assert fitted(READY, 79) == "canary gateway:v2 to be ready: pod gateway-canary-7d9f finds no ..., 293 s left"


@pytest.mark.parametrize("text", [HOLD, READY, "x" * 300, ""])
def test_it_always_fits_and_never_ends_in_half_a_word(text):
    """In any window that people have; a single word longer than that is cut."""
    for width in range(40, 140):
        short = fitted(text, width)
        assert len(short) <= width
        told = re.sub(r" \.\.\.(, 293 s left)?$", "", short)
        assert text.startswith(told)
        assert " " not in text or text[len(told) : len(told) + 1] in ("", " ", ",", ";", ":", "|")
