"""What both builds are pinned by, learnt on the way up and written down before any user meets the canary."""

from __future__ import annotations

from pytest_canary.errors import ModelMismatch
from pytest_canary.plan import Plan
from pytest_canary.ports import Revision, Role, World
from pytest_canary.rollout.book import Book
from pytest_canary.rollout.cast import Cast
from pytest_canary.steps.digest import Digests
from pytest_canary.steps.identify import Identifier, Identities, Listening

UNASKED = (
    "two models are compared, by defaults that are made for one; write `model: {}` beside `same_model: false`, and see "
    "docs/model-changes.md"
)


class Pinning:
    """Of one rollout."""

    def __init__(self, plan: Plan, world: World, probe: Listening, book: Book, cast: Cast) -> None:
        self._plan, self._book, self._cast = plan, book, cast
        self._digests = Digests(world.shared.home, world.shared.state)
        self._identifier = Identifier(world, probe, plan.models, self._digests, book.listener.tick)

    def files(self, stable: Revision, canary: Revision) -> None:
        """Read what the plan pins by files, before anything is deployed.

        Raises:
            NotStarted: one of them cannot be read.

        """
        policies = dict(self._plan.policies)
        names = [stated.file for _, stated in (*self._plan.models.stated, *self._plan.policies) if stated.file]
        if names:
            with self._book.step("digests") as step:
                read = {name: self._digests.of(name, self._book.listener.tick) for name in names}
                step.text = ", ".join(f"{name} is {digest[:19]}" for name, digest in read.items())
        for role, revision in ((Role.BASELINE, stable), (Role.CANARY, canary)):
            self._cast.pin(revision, self._digests.version(policies.get(role)))

    def models(self, stable: Revision, canary: Revision) -> Identities:
        """Learn which models both serve, and write down all that they are pinned by.

        Raises:
            ModelMismatch: they serve two models, or do not say, where that is refused.

        """
        found = self._identifier.ask(stable, canary, self._plan.health, self._plan.smoke)
        self._cast.know(stable, found.baseline)
        self._cast.know(canary, found.canary)
        self._book.note("pins", **{name: pinned.to_data() for name, pinned in self._cast.pinned().items()})
        if found.differ and found.refused:
            raise ModelMismatch(found.differ)
        if found.differ and not self._plan.models.change:
            self._book.listener.said(UNASKED)
        return found
