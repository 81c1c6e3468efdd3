"""What a share of the traffic takes before it is given: copies that are ready, and a source that tells of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from threading import RLock

from pytest_canary.errors import NoData, NotStarted, SourceUnavailable
from pytest_canary.plan import Plan
from pytest_canary.ports import Revision, Role, Sample, Weights, World
from pytest_canary.rollout.book import Book
from pytest_canary.steps.deploy import wait_ready
from pytest_canary.steps.rollback import unserved

PATIENCE_SECONDS = 60.0
"""How long a source may be silent before traffic is shifted ..."""
SEEN_SECONDS = 120.0
"""... and how long it may take to find out about new copies."""


class Capacity:
    """Made before a shift; every port call is made under ``lock``."""

    def __init__(
        self, plan: Plan, world: World, book: Book, build: Callable[[Role], Revision | None], lock: RLock
    ) -> None:
        self._plan, self._world, self._book, self._build, self._lock = plan, world, book, build, lock

    def make(self, weights: Weights, wanted: Callable[[], bool]) -> None:
        """Return once ``weights`` can be set, or are not ``wanted`` any more; the shares stay as they are meanwhile.

        Raises:
            NotStarted: copies do not come up, or whoever holds the traffic has gone.
            NoData: the source is silent, or does not find out about new copies.

        """
        self._grow(weights)
        self._wait_for_the_source(weights, wanted)

    def _grow(self, weights: Weights) -> None:
        for role, share in weights.items():
            build = self._build(role)
            if role is not Role.BASELINE and share > 0 and build is not None:
                with self._lock:
                    self._world.platform.grow(build, share)
                clock, tick = self._world.clock, self._book.listener.tick
                wait_ready(self._world.platform, build, clock, self._plan.ready_seconds, tick)

    def _wait_for_the_source(self, weights: Weights, wanted: Callable[[], bool]) -> None:
        """Give a source that does not answer a while, rather than end a good rollout.

        What it tells must be newer than this moment, and of every copy: else what warmed the canary would be counted.
        """
        clock, tick = self._world.clock, self._book.listener.tick
        asked = clock.now()
        while wanted():
            waited = clock.now() - asked
            try:
                with self._lock:
                    unseen = self._unseen(self._world.source.poll(list(weights)), weights, asked)
                if not unseen:
                    return
                if waited >= SEEN_SECONDS:
                    raise SourceUnavailable(unseen)
            except NoData as error:
                if waited >= PATIENCE_SECONDS:
                    raise
                unseen = str(error)
            if gone := unserved(self._world):
                raise NotStarted(gone)
            tick(f"the source to answer: {unseen}")
            clock.sleep(self._plan.poll_seconds)

    def _unseen(self, samples: Mapping[Role, Sample], weights: Weights, asked: float) -> str:
        for role in weights:
            sample, build = samples.get(role), self._build(role)
            if sample is None:
                return f"nothing is counted for the {role}"
            if sample.at < asked:
                return f"what is told of the {role} is {self._world.clock.now() - sample.at:.0f} s old"
            names = self._world.platform.copies(build) if build is not None and sample.replicas else None
            unseen = sorted((names or frozenset()) - set(sample.replicas))
            if unseen:
                return f"{', '.join(unseen)} of the {role} is not counted yet; is it scraped?"
        return ""
