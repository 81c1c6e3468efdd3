"""Counts what the synthetic users see."""

from __future__ import annotations

import time
from collections import Counter
from typing import Any

from pytest_canary.adapters.load.quantiles import Quantiles
from pytest_canary.adapters.load.replies import Outcome, Reply


class Tally:
    """The growing form of :class:`~pytest_canary.ports.Seen`."""

    def __init__(self) -> None:
        self.sent = 0
        self.unsent = 0
        self._outcomes: Counter[Outcome] = Counter()
        self._dropped_why: Counter[str] = Counter()
        self._lag, self._seconds = Quantiles(), Quantiles()
        self._served: Counter[str] = Counter()
        self._bad: Counter[str] = Counter()
        self._first_bad: dict[str, float] = {}
        self._last: dict[str, float] = {}

    def launched(self, lag_seconds: float) -> None:
        """Count a request that leaves ``lag_seconds`` after it was due."""
        self.sent += 1
        self._lag.add(lag_seconds)

    def ended(self, reply: Reply, outcome: Outcome, why: str, seconds: float) -> None:
        """Count the end of a request, ``seconds`` after it was due."""
        self._outcomes[outcome] += 1
        if outcome is Outcome.ANSWERED:
            self._seconds.add(seconds)
        elif outcome is Outcome.DROPPED:
            self._dropped_why[why] += 1
        name = reply.served_by
        if not name:
            return
        if not reply.routers_own:
            self._last[name] = max(self._last.get(name, 0.0), reply.began_at)
        self._served[name] += outcome is not Outcome.DROPPED
        self._bad[name] += outcome is Outcome.FAILED
        if outcome is not Outcome.ANSWERED:
            self._first_bad.setdefault(name, time.time())

    def seen(self) -> dict[str, Any]:
        """Everything so far, as the fields of a ``Seen``."""
        return {
            **{str(outcome): self._outcomes[outcome] for outcome in Outcome},
            "sent": self.sent,
            "unsent": self.unsent,
            "dropped_why": dict(self._dropped_why),
            "lag_p99_seconds": self._lag.quantile(0.99) or 0.0,
            "p50_seconds": self._seconds.quantile(0.50),
            "p99_seconds": self._seconds.quantile(0.99),
            "first_bad": dict(self._first_bad),
            "bad": dict(+self._bad),
            "served": dict(self._served),
            "last": dict(self._last),
        }
