"""Where users go when the canary is cut: to the stable build, or to whoever answers them while that does not."""

from __future__ import annotations

from contextlib import suppress

from pytest_canary.errors import AdapterError, CanaryError, NotRestored, NotStarted
from pytest_canary.ports import Revision, World
from pytest_canary.rollout.book import Book
from pytest_canary.steps.rollback import give_back, revive, shelter, silent, unserved


class Refuge:
    """What was put right on the way, and what could not be, is in the book."""

    def __init__(self, world: World, book: Book) -> None:
        self._world, self._book = world, book

    def give_back(self, canary: Revision | None, died: str) -> str:
        """Weight 0; nobody is sent to a stable build that is dead, while one can be started or ``canary`` answers.

        ``died`` is what has failed, where that is known.  Returns why the canary has all traffic instead; empty where
        it has none.

        Raises:
            NotRestored: the router refuses.

        """
        why = died or unserved(self._world)
        if why:
            with suppress(AdapterError):
                shelter(self._world, canary)
            self._revive(why)
        try:
            sheltered = give_back(self._world, canary)
        except NotRestored as error:
            self._revive(str(error))
            sheltered = give_back(self._world, canary)
        if sheltered:
            self._book.safely_note("weights", baseline=0.0, canary=1.0, why=sheltered)
            self._book.in_trouble(sheltered)
        return sheltered

    def _revive(self, why: str) -> None:
        try:
            stable = revive(self._world)
            if still := silent(self._world.platform, stable):
                raise NotStarted(still)
        except CanaryError as error:
            self._book.in_trouble(f"{why}; it could not be started anew: {error}")
        else:
            self._book.in_trouble(f"{why}; put right, {stable} serves")
