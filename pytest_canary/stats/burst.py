"""Events that come in bursts: whether they do, and how much one window may then be worth."""

from __future__ import annotations

from copy import copy

import numpy as np
from numpy.typing import ArrayLike

from pytest_canary.stats.grid import Array
from pytest_canary.stats.rows import Flags, Index, Rows, axes, column, onward, polls_ahead

SCALES = (1, 6, 12)
"""Polls that are taken together; bursts as short as a poll and as long as twelve are looked for."""
SURE = 2.6
"""Standard deviations of a chi-square beyond which counts are clumpier than chance."""
KNOWN = 30
"""Events from which on "not clumped" is believed; fewer say nothing."""
WORTH = 8.0
"""The most that one window may multiply the evidence by where events come in bursts."""
POLL_WORTH = 10.0
"""The most that one poll may multiply the evidence by while nobody knows."""
_LEAST_WINDOWS = 8
_KEPT = 720
"""Polls that are remembered: an hour, at one in five seconds."""
_EXPECTED = 1e-12


class BurstGuard(Rows):
    """Looks at the baseline's own counts, poll by poll, and limits what a window of evidence may be worth.

    Three answers per rollout: events come like chance (no limit), in bursts (a window of time is worth at most 8),
    or too few to know (one poll is worth at most 10).  The limit is chosen from the past alone, so evidence stays
    valid.  Dispersion is Pearson's chi-square of the baseline's events given its requests, at several scales, on the
    normal scale of Wilson and Hilferty; what both sides share (an outage) looks like a burst here, and only costs
    speed.
    """

    AXES = axes(_polls=0, _events=0, _of=0)

    def __init__(self, batch: int = 1) -> None:
        self._n, self._k = np.zeros((batch, 16)), np.zeros((batch, 16))
        self._of = np.arange(batch)
        """Which row of these is whose: one rollout's successive polls have one, and each sees of it what was so far."""
        self._polls = np.zeros(batch, dtype=np.intp)
        self._events = np.zeros(batch)
        """Of the polls that are remembered."""

    def keep(self, rows: Index) -> None:
        super().keep(rows)
        if rows.size <= len(self._n):
            self._n, self._k, self._of = self._n[self._of], self._k[self._of], np.arange(rows.size)

    def add(self, requests: ArrayLike, events: ArrayLike, where: Flags | None = None) -> None:
        """Add one poll of the baseline; in all rollouts, or ``where``."""
        batch = self._polls.size
        n, k = column(requests, batch), column(events, batch)
        if polls_ahead():
            self._add_all(n, k)
            return
        if self._polls.max() >= self._n.shape[1]:
            self._make_room()
        if where is None or where.all():
            rows: Index | slice = np.arange(batch)
        else:
            rows = np.flatnonzero(where)
        at = self._polls[rows]
        self._n[rows, at], self._k[rows, at] = n[rows], k[rows]
        gone = at >= _KEPT
        self._events[rows] += k[rows]
        if gone.any():
            self._events[rows] -= np.where(gone, self._k[rows, at - _KEPT], 0.0)
        self._polls[rows] += 1

    def _add_all(self, n: Array, k: Array) -> None:
        """Add successive polls."""
        polls = polls_ahead()
        first = self._polls[::polls]
        while first.max() + polls > self._n.shape[1]:
            self._make_room()
            first = self._polls[::polls]
        rows, at = np.arange(first.size)[:, None], first[:, None] + np.arange(polls)
        self._n[rows, at], self._k[rows, at] = n.reshape(-1, polls), k.reshape(-1, polls)
        gone = np.where(at >= _KEPT, self._k[rows, np.maximum(at - _KEPT, 0)], 0.0)
        self._events = self._events + onward(k - gone.ravel())
        self._polls = self._polls + onward(np.ones(self._polls.size, dtype=np.intp))

    def _make_room(self) -> None:
        """Grow, up to twice what is remembered; then let go of what is older."""
        size = self._n.shape[1]
        if size < 2 * _KEPT:
            more = np.zeros((len(self._n), min(size, 2 * _KEPT - size)))
            self._n, self._k = np.hstack([self._n, more]), np.hstack([self._k, more])
            return
        old = np.maximum(self._polls[:: self._polls.size // len(self._n)] - _KEPT, 0)
        at = old[:, None] + np.arange(size)
        inside = at < size
        at = np.minimum(at, size - 1)
        self._n = np.where(inside, np.take_along_axis(self._n, at, axis=1), 0.0)
        self._k = np.where(inside, np.take_along_axis(self._k, at, axis=1), 0.0)
        self._polls = self._polls - old[self._of]

    def clumped_at(self, rows: Index) -> Flags:
        """Whether events come in bursts, in these rollouts."""
        found = np.zeros(rows.size, dtype=bool)
        whose, of = np.unique(self._of[rows], return_inverse=True)
        last = self._polls[rows]
        polls = np.minimum(last, _KEPT)
        if polls.max(initial=0) < _LEAST_WINDOWS:
            return found
        begin, end = int((last - polls).min()), int(last.max())
        n, k = self._n[whose, begin:end], self._k[whose, begin:end]
        for scale in SCALES:
            windows = polls // scale
            if windows.max() >= _LEAST_WINDOWS:
                found |= (windows >= _LEAST_WINDOWS) & (_deviation(n, k, of, last - begin, windows, scale) > SURE)
        return found

    @property
    def clumped(self) -> Flags:
        """Whether events come in bursts, one per rollout."""
        return self.clumped_at(np.arange(self._polls.size))

    @property
    def known(self) -> Flags:
        """Whether there were events enough to tell, one per rollout."""
        return np.asarray((self._polls >= _LEAST_WINDOWS) & (self._events >= KNOWN))

    def before_each(self) -> BurstGuard:
        """What was so before each of the successive polls that have just been added."""
        earlier, own = copy(self), self._k[self._of, self._polls - 1]
        gone = np.where(self._polls > _KEPT, self._k[self._of, np.maximum(self._polls - 1 - _KEPT, 0)], 0.0)
        earlier._polls, earlier._events = self._polls - 1, self._events - own + gone
        return earlier

    @property
    def remembered(self) -> int:
        """Polls that are looked at, in the rollout that has most."""
        return int(min(self._polls.max(initial=0), _KEPT))


def _deviation(requests: Array, events: Array, of: Index, last: Index, windows: Index, scale: int) -> Array:
    """How far the dispersion of events is above chance, in standard deviations.

    Of each rollout it is asked about the row ``of`` of ``requests`` and ``events``, and the last ``windows`` of
    ``scale`` polls each before ``last``.  Pearson's chi-square is ``sum(k^2 / n) - r * sum(k)`` over ``r (1 - r)``, so
    running sums tell it of all successive polls whose windows begin at the same polls.
    """
    phases, sums = last % scale, np.zeros((3, last.size))
    for phase in np.unique(phases):
        number = (requests.shape[1] - phase) // scale
        shape, cells = (len(requests), number, scale), slice(phase, phase + number * scale)
        n, k = (values[:, cells].reshape(shape).sum(axis=2) for values in (requests, events))
        here = phases == phase
        whose, end = of[here], last[here] // scale
        begin = end - windows[here]
        alike = (end == end[0]).all() and (begin == begin[0]).all()
        for index, values in enumerate((n, k, k**2 / np.maximum(n, _EXPECTED))):
            if alike:  # rollouts beside each other
                sums[index, here] = values[:, begin[0] : end[0]].sum(axis=1)[whose]
                continue
            running = np.zeros((len(requests), number + 1))
            np.cumsum(values, axis=1, out=running[:, 1:])
            sums[index, here] = running[whose, end] - running[whose, begin]
    number, bad, squares = sums
    rate, freedom = bad / np.maximum(number, _EXPECTED), np.maximum(windows - 1, 1)
    variance, above = rate * (1 - rate), np.maximum(squares - rate * bad, 0.0)
    unheard_of = np.where(rate > 1, np.inf, 0.0)  # more events than requests
    square = np.divide(above, variance, out=unheard_of, where=variance > 0) / freedom
    spread = 2 / (9 * freedom)
    return np.asarray((np.cbrt(square) - (1 - spread)) / np.sqrt(spread))


def design_effect(canary: tuple[Array, Array], baseline: tuple[Array, Array], pseudo: float = 4.0) -> float:
    """How many times more the canary's share of events varies between windows than chance has it, at least 1.

    ``canary`` and ``baseline`` are requests and events per window, of one and the same build on both sides; 30
    windows or more.  Shrunk towards 1 by ``pseudo`` windows.
    """
    (nc, ec), (nb, eb) = canary, baseline
    events = ec + eb
    ratio = ((ec * nb / (nc + nb)).sum() + 0.5) / ((eb * nc / (nc + nb)).sum() + 0.5)
    share = ratio * nc / (ratio * nc + nb)
    by_chance = float((events * share * (1 - share)).sum())
    if by_chance <= 0:
        return 1.0
    prior = pseudo * by_chance / events.size
    return max(1.0, (float(((ec - events * share) ** 2).sum()) + prior) / (by_chance + prior))
