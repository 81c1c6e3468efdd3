"""The machine's clock, and the one that nothing waits for."""

import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from pytest_canary.adapters.clock import OFFERS, SystemClock, VirtualClock
from tests.adapters.contracts import ClockContract


class TestSystemClock(ClockContract):
    """Real time passes."""

    @pytest.fixture
    def clock(self):
        """Made without arguments."""
        return OFFERS["system"]()

    def test_it_is_real(self, clock):
        """Holds tick several times a second on it."""
        assert not clock.virtual


class TestVirtualClock(ClockContract):
    """Time passes when somebody sleeps."""

    @pytest.fixture
    def clock(self):
        """Made without arguments."""
        return OFFERS["virtual"]()

    def test_it_is_virtual(self, clock):
        """Nobody needs a second thread on it."""
        assert clock.virtual

    def test_an_hour_takes_no_time(self, clock):
        """A rollout of a day is tested in a second."""
        began = time.monotonic()
        clock.sleep(3600)

        assert clock.now() == 3600
        assert time.monotonic() - began < 1

    def test_it_stands_still_while_nobody_sleeps(self, clock):
        """Counts depend on it alone."""
        before = clock.now(), clock.wall()
        time.sleep(0.01)

        assert (clock.now(), clock.wall()) == before

    def test_no_sleep_of_any_thread_is_lost(self, clock):
        """Warm-up asks from several."""
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda _: [clock.sleep(1) for _ in range(500)], range(8)))

        assert clock.now() == 4000


def test_there_are_two_clocks():
    """`clock: {virtual: {}}` in a rollout.yaml chooses."""
    assert [OFFERS["system"], OFFERS["virtual"]] == [SystemClock, VirtualClock]
