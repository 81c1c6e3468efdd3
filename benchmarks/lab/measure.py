"""What a rule did to a batch of rollouts."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lab.series import Floats, Ints


@dataclass(frozen=True)
class Measured:
    """Rollbacks 0..1; canary requests served until then (all of them where there was none), and minutes."""

    rollouts: int
    rollback: float
    exposed_mean: float
    exposed_p90: float
    minutes: float
    """Until the rollback, mean over those that were rolled back; NaN where none was."""

    @property
    def error(self) -> float:
        """Standard error of the rollback share."""
        return float(np.sqrt(max(self.rollback * (1 - self.rollback), 0.5 / self.rollouts) / self.rollouts))


def measured(stops: Ints, canary_requests: Floats, poll_seconds: float) -> Measured:
    """From the poll after which each rollout was rolled back (the number of polls where it never was)."""
    rollouts, polls = canary_requests.shape
    served = np.cumsum(canary_requests, axis=1)
    exposed = served[np.arange(rollouts), np.minimum(stops, polls - 1)]
    stopped = stops < polls
    minutes = (stops[stopped] + 1) * poll_seconds / 60
    return Measured(
        rollouts,
        float(stopped.mean()),
        float(exposed.mean()),
        float(np.quantile(exposed, 0.9)),
        float(minutes.mean()) if stopped.any() else float("nan"),
    )


def together(parts: list[Measured]) -> Measured:
    """Several batches of one cell, weighted by their size; the p90 is the mean of theirs."""
    sizes = np.array([part.rollouts for part in parts], dtype=np.float64)
    rolled = np.array([part.rollback for part in parts]) * sizes
    minutes = [part.minutes * weight for part, weight in zip(parts, rolled, strict=True) if weight]
    return Measured(
        int(sizes.sum()),
        float(rolled.sum() / sizes.sum()),
        float(np.average([part.exposed_mean for part in parts], weights=sizes)),
        float(np.average([part.exposed_p90 for part in parts], weights=sizes)),
        sum(minutes) / float(rolled.sum()) if rolled.sum() else float("nan"),
    )
