"""Several histories as one."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from pytest_canary.play.history import Array, Buckets, History


def together(histories: Sequence[History]) -> History:
    """Several histories one after the other, with a gap between; what one has not counted is zero there."""
    if len(histories) == 1:
        return histories[0]
    step = float(np.median([one.step_seconds for one in histories]))
    width = max(one.replicas for one in histories)
    names = {name for one in histories for name in one.counters}
    layouts = {name: b.bounds for one in histories for name, b in one.histograms.items()}
    follows = [np.arange(one.steps) > 0 if one.follows is None else one.follows.copy() for one in histories]
    for one in follows:
        one[:1] = False

    def joined(parts: Sequence[NDArray[np.floating]]) -> Array:
        padded = [np.pad(p, [(0, 0), (0, width - p.shape[1])] + [(0, 0)] * (p.ndim - 2)) for p in parts]
        return np.concatenate(padded)

    def zeros(one: History, *more: int) -> Array:
        return np.zeros((one.steps, one.replicas, *more))

    histograms = {}
    for name, bounds in layouts.items():
        same = [one.histograms.get(name) for one in histories]
        fit = [one if one is not None and one.bounds == bounds else None for one in same]
        counts = [b.counts if b else zeros(h, len(bounds) + 1) for b, h in zip(fit, histories, strict=True)]
        totals = [b.totals if b else zeros(h) for b, h in zip(fit, histories, strict=True)]
        histograms[name] = Buckets(bounds, joined(counts), joined(totals))
    counters = {name: joined([one.counters.get(name, zeros(one)) for one in histories]) for name in names}
    return History(step, counters, histograms, np.concatenate(follows))
