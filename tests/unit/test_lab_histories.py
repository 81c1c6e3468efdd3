"""The worlds in which calibration is measured are what they are called."""

import numpy as np
import pytest

from tests.unit import lab  # noqa: F401  (makes the next import possible)

from lab.histories import WORLDS, cast_of, hours, plan, rollouts  # isort: skip

RATE, BASE = 100.0, 0.01


def rng():
    """Always the same."""
    return np.random.default_rng(7)


def dispersion(errors, requests):
    """Variance of the errors of a replica and step over what chance makes of them."""
    expected = requests * errors.sum() / requests.sum()
    return float(((errors - expected) ** 2).sum() / expected.sum())


@pytest.mark.parametrize(
    ("world", "most", "least"),
    [
        ("iid", 1.1, 0.9), ("clump3", 6, 4), ("clump10", 20, 14), ("burst20", 4.2, 2.6), ("burst5", 6.5, 4.5),
        ("tenth", 1.2, 0.9), ("pods", 1.3, 0.9), ("diurnal", 1.2, 0.9),
    ],
)  # fmt: skip
def test_errors_hang_together_as_the_world_has_it(world, most, least):
    """Clumps of 3 vary 5 times as much as chance, those of 10 19 times; bursts every 20 and 5 min 3.3 and 5.5 times."""
    past = hours(world, 4.0, RATE, BASE, rng())

    assert least < dispersion(past.counters["errors"], past.requests) < most
    assert past.requests.sum() == pytest.approx(RATE * 4 * 3600, rel=0.25)
    assert past.replicas == 20


@pytest.mark.parametrize("world", list(WORLDS))
def test_a_bad_build_has_three_times_the_errors_in_the_same_trouble(world):
    """So that what calibration costs is measured where it is needed."""
    drawn = rollouts(world, 40, RATE, BASE, 3.0, rng())
    good, bad = drawn.good.counters["errors"].sum(), drawn.bad.counters["errors"].sum()

    assert bad / good == pytest.approx(3.0, rel=0.2)
    assert np.array_equal(drawn.good.requests, drawn.bad.requests)


def test_every_stretch_is_one_rollout():
    """None reaches into the next one's hours."""
    told = plan()
    drawn = rollouts("iid", 5, RATE, BASE, 3.0, rng())
    found = cast_of(drawn, told, rng())

    assert found.plays == 5
    assert (np.diff(found.starts) >= found.steps).all()
    assert [part.canaries for part in found.parts] == [1, 5, 10]
