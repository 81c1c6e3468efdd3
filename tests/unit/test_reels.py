"""A line of progress while a large recording is replayed."""

from __future__ import annotations

from pathlib import Path

import pytest

from pytest_canary.session import reels
from pytest_canary.session.reels import Reel


class Said:
    """In the place of a terminal."""

    def __init__(self) -> None:
        self.lines = list[str]()

    def tick(self, text: str, *, muted: bool | None = None) -> None:
        """Keep the line."""
        assert muted is False  # the tests of a replay are muted, and this is not one of them
        self.lines.append(text)


@pytest.fixture
def reel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Of a file of two gigabytes; every question for the time takes a second."""
    seconds = iter(range(1000))
    monkeypatch.setattr(reels.time, "monotonic", lambda: float(next(seconds)) * 60)
    path = tmp_path / "large.jsonl"
    with path.open("wb") as file:
        file.truncate(2_000_000_000)
    return Reel(Said(), path)


def test_it_says_how_much_of_the_file_is_done_and_how_long_the_rest_takes(reel):
    """Who waits for a quarter of an hour wants to know that it is one."""
    reel(10_000_000)
    reel(500_000_000)

    assert reel._console.lines == ["replay large: 0% of 2.0 GB", "replay large: 25% of 2.0 GB, 6 min left"]
    assert reel.share == 0.25


def test_a_second_reading_is_timed_anew(reel):
    """A recording of another system is looked through first, which is far quicker."""
    for read in (500_000_000, 1_900_000_000, 500_000_000):
        reel(read)

    assert reel._console.lines[-1] == "replay large: 25% of 2.0 GB, 3 min left"


def test_a_file_that_is_none_has_no_share(tmp_path):
    """It is named once it is read."""
    assert Reel(Said(), tmp_path).share == 0.0
