"""The baseline's last window as fixed limits, for a stage at which it no longer serves."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pytest_canary.gates.reading import Reading
from pytest_canary.stats.limit import LimitEvidence
from pytest_canary.stats.rate import odds_above, upper_bound


class Frozen:
    """One limit, or several of which any may be broken."""

    def __init__(self, limits: Sequence[float], alpha: float) -> None:
        self.limits = tuple(limits)
        self.alpha = alpha
        self._evidence = [LimitEvidence(limit) for limit in self.limits]

    def update(self, requests: float, events: Sequence[float]) -> None:
        """Add one poll of the canary: its events against each limit."""
        for evidence, count in zip(self._evidence, events, strict=True):
            evidence.update(requests, count)

    @property
    def worst(self) -> int:
        """Which limit is most clearly broken; the last one where none is."""
        each = [float(evidence.log_e[0]) for evidence in self._evidence]
        return max(reversed(range(len(each))), key=each.__getitem__)

    @property
    def log_e(self) -> float:
        """Log evidence against the limit most clearly broken, corrected for there being several."""
        if not self._evidence:
            return 0.0
        return float(self._evidence[self.worst].log_e[0]) - float(np.log(len(self._evidence)))

    def odds(self, requests: float, events: Sequence[float]) -> float:
        """P(above a limit | this stage's counts), of the limit where that is most likely."""
        return max((odds_above(requests, k, at) for k, at in zip(events, self.limits, strict=True)), default=0.0)

    @property
    def convicts(self) -> bool:
        """Whether the canary is above what the baseline can have been."""
        return bool(self.limits) and self.log_e >= -float(np.log(self.alpha))


def highest(reading: Reading, events: float | None) -> float | None:
    """The rate that a frozen baseline is taken to have had at most; None when it counted nothing."""
    return None if events is None or not reading.requests else upper_bound(reading.requests, events)
