"""Kayenta's judge of one metric, twice: as its code reads, and for many pairs at once.

The rule is `NetflixACAJudge-v1.0` of spinnaker/kayenta: `kayenta-judge/.../NetflixACAJudge.scala`,
`classifiers/metric/MannWhitneyClassifier.scala`, `scorers/WeightedSumScorer.scala` and
`kayenta-mannwhitney/.../MannWhitney.scala`, with the measure `meanRatio`, outliers kept and NaN removed (its defaults).
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from math import fsum, isnan, nan, sqrt
from random import Random
from statistics import NormalDist
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from lab.series import Floats

Label = Literal["Pass", "High", "Low", "Nodata", "Error"]
Direction = Literal["increase", "decrease", "either"]

TOLERANCE = 0.25
"""Share of the estimated shift which the confidence interval has to clear; fixed in `NetflixACAJudge`."""
_SURE = NormalDist().inv_cdf(0.99)
"""The interval has a confidence of 98 %, fixed too."""
_PRECISION = 1e-4
"""Absolute, whatever the unit of the metric; an end that is no further than this from the bound is a Pass."""


def judge(
    experiment: Sequence[float],
    control: Sequence[float],
    *,
    direction: Direction = "increase",
    allowed_increase: float = 1.0,
    allowed_decrease: float = 1.0,
) -> Label:
    """Classify one metric as `MannWhitneyClassifier.classify` does, from the values of its buckets.

    Two differences: the noise that keeps two constant series apart is seeded here, and roots are found by bisection
    where Kayenta has Brent's method, both to 1e-4 (on a step function, so they may stop at different places).
    """
    x, y = _numbers(experiment), _numbers(control)
    plain = _untested(x, y)
    if plain:
        return plain
    if len(set(x)) == 1 and len(set(y)) == 1:
        x, y = _noisy(x, y)
    try:
        low, high, shift = interval(x, y)
    except ArithmeticError:
        return "Error"
    bound, effect = TOLERANCE * abs(shift), _effect(x, y)
    if direction != "decrease" and low - _PRECISION > bound and (isnan(effect) or effect >= allowed_increase):
        return "High"
    if direction != "increase" and high + _PRECISION < -bound and (isnan(effect) or effect <= allowed_decrease):
        return "Low"
    return "Pass"


def interval(x: Sequence[float], y: Sequence[float]) -> tuple[float, float, float]:
    """The ends of the 98 % interval of the shift of ``x`` against ``y``, and the shift: `MannWhitney.eval`.

    ArithmeticError where Kayenta throws: all values tied once shifted (ZeroDivisionError), or no range in which to
    search for the shift, which is so for one value a side.
    """
    if min(x) - max(y) >= max(x) - min(y):
        raise ArithmeticError("the shift can only be one value")
    return _root(x, y, _SURE), _root(x, y, -_SURE), _root(x, y, 0.0)


def score(labels: Sequence[Label]) -> float:
    """0 to 100, as `WeightedSumScorer` counts one group of metrics none of which is critical."""
    if not labels or labels.count("Nodata") * 2 >= len(labels):
        return 0.0
    counted = [label for label in labels if label not in ("Nodata", "Error")]
    # With nothing but errors there is nothing against the canary, and it gets full marks.
    return round(100 * counted.count("Pass") / len(counted), 2) if counted else 100.0


def judge_all(experiment: Floats, control: Floats, allowed_increase: float) -> list[Label]:
    """What `judge` says of each row in the direction of an increase; much faster, for the test runs on all at once."""
    labels: list[Label] = ["Pass"] * len(experiment)
    alike: defaultdict[tuple[int, int], list[tuple[int, list[float], list[float]]]] = defaultdict(list)
    for row, (every_x, every_y) in enumerate(zip(experiment.tolist(), control.tolist(), strict=True)):
        x, y = _numbers(every_x), _numbers(every_y)
        plain = _untested(x, y)
        if plain:
            labels[row] = plain
        elif len(set(x)) == 1 and len(set(y)) == 1:
            labels[row] = judge(x, y, allowed_increase=allowed_increase)
        elif not _effect(x, y) < allowed_increase:  # where the ratio is too small, no test can make it "High"
            alike[len(x), len(y)].append((row, x, y))
    for pairs in alike.values():
        rows, xs, ys = zip(*pairs, strict=True)
        for row, high in zip(rows, _high(np.array(xs), np.array(ys)), strict=True):
            labels[row] = "High" if high else "Pass"
    return labels


def _numbers(values: Sequence[float]) -> list[float]:
    return [value for value in values if not isnan(value)]


def _untested(x: list[float], y: list[float]) -> Label | None:
    """The label where Kayenta does not come to the test."""
    if not x or not y:
        return "Nodata"
    return "Pass" if sorted(x) == sorted(y) or len({*x, *y}) == 1 else None


def _noisy(x: list[float], y: list[float]) -> tuple[list[float], list[float]]:
    draw = Random(0)
    noisy = [[value + draw.gauss(0.0, abs(value) * 1e-5) for value in side] for side in (x, y)]
    return noisy[0], noisy[1]


def _effect(x: list[float], y: list[float]) -> float:
    """The ratio of the means; NaN, which skips this condition, where either is 0."""
    mine, theirs = fsum(x) / len(x), fsum(y) / len(y)
    return nan if mine == 0 or theirs == 0 else mine / theirs


def _ranks(values: list[float]) -> dict[float, float]:
    """The rank of each distinct value; equal values share the middle of theirs."""
    ranks, below = dict[float, float](), 0
    for value, count in sorted(Counter(values).items()):
        ranks[value] = below + (count + 1) / 2
        below += count
    return ranks


def _distance(x: Sequence[float], y: Sequence[float], shift: float) -> float:
    """`wilcoxonDiff` before the quantile is taken off: how far ``x`` less ``shift`` is above ``y``, in deviations."""
    n, m = len(x), len(y)
    moved = [value - shift for value in x]
    ranks = _ranks([*moved, *y])
    above = sum(ranks[value] for value in moved) - n * (n + 1) / 2 - n * m / 2
    ties = sum(count**3 - count for count in Counter([*moved, *y]).values())
    variance = n * m / 12 * ((n + m + 1) - ties / ((n + m) * (n + m - 1)))
    return (above - 0.5 * ((above > 0) - (above < 0))) / sqrt(max(variance, 0.0))


def _root(x: Sequence[float], y: Sequence[float], quantile: float) -> float:
    """The shift at which the distance is ``quantile``; an end of the range where it never is."""
    low, high = min(x) - max(y), max(x) - min(y)
    if _distance(x, y, low) - quantile <= 0:
        return low
    if _distance(x, y, high) - quantile >= 0:
        return high
    while high - low > _PRECISION:
        middle = (low + high) / 2
        if _distance(x, y, middle) - quantile > 0:
            low = middle
        else:
            high = middle
    return (low + high) / 2


def _high(x: Floats, y: Floats) -> NDArray[np.bool_]:
    """Whether the interval is above the bound, per row."""
    low = _roots(x, y, _SURE)
    found = low > _PRECISION  # the bound is never below 0, so the shift of the others need not be known
    found[found] = low[found] - _PRECISION > TOLERANCE * np.abs(_roots(x[found], y[found], 0.0))
    return found


def _distances(x: Floats, y: Floats, shift: Floats) -> Floats:
    """`_distance` per row; pairs are counted instead of ranked, which comes to the same halves exactly."""
    n, m = x.shape[1], y.shape[1]
    moved = x - shift[:, None]
    both = np.concatenate([moved, y], axis=1)
    wins = (moved[:, :, None] > y[:, None, :]).sum((1, 2)) + (moved[:, :, None] == y[:, None, :]).sum((1, 2)) / 2
    above = wins - n * m / 2
    # Each of the t values of a tie is equal to t, so t times t² - 1 is the t³ - t of the formula.
    equal = (both[:, :, None] == both[:, None, :]).sum(2)
    ties = (equal**2 - 1).sum(1)
    variance = n * m / 12 * ((n + m + 1) - ties / ((n + m) * (n + m - 1)))
    with np.errstate(divide="ignore", invalid="ignore"):
        distances: Floats = (above - 0.5 * np.sign(above)) / np.sqrt(np.maximum(variance, 0.0))
    return distances


def _roots(x: Floats, y: Floats, quantile: float) -> Floats:
    """`_root` per row, step by step the same."""
    low, high = x.min(1) - y.max(1), x.max(1) - y.min(1)
    below = _distances(x, y, low) - quantile <= 0
    above = _distances(x, y, high) - quantile >= 0
    found: Floats = np.where(below, low, high)
    inside = np.flatnonzero(~below & ~above)
    x, y, low, high = x[inside], y[inside], low[inside], high[inside]
    while (wide := high - low > _PRECISION).any():
        middle = (low + high) / 2
        more = _distances(x, y, middle) - quantile > 0
        low, high = np.where(wide & more, middle, low), np.where(wide & ~more, middle, high)
    found[inside] = (low + high) / 2
    return found
