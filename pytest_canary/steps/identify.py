"""Ask everybody who may know which model a build serves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from threading import Lock

from pytest_canary.errors import NoData
from pytest_canary.identity import NOBODY, Heard, Identity, Said, Source, Wanted, answered, differ, settled
from pytest_canary.ports import Answer, Probe, Prompt, Revision, Role, World
from pytest_canary.steps.deploy import Tick
from pytest_canary.steps.digest import Digests

SCRAPES, SCRAPE_SECONDS = 3, 15.0
"""How many intervals of its source a label may take to be seen, and how long one is where nobody knows."""
MOST = 20
"""Different things that answers may say before nobody needs to hear more."""


class Listening:
    """A :class:`~pytest_canary.ports.Probe` that remembers what the answers of each build said of its model."""

    def __init__(self, probe: Probe, header: str) -> None:
        self._probe, self._header, self._lock = probe, header, Lock()
        self._heard: dict[str, dict[Heard, None]] = {}

    def ask(self, address: str, prompt: Prompt) -> Answer:
        answer = self._probe.ask(address, prompt)
        heard = Heard.of(prompt, answer, self._header)
        with self._lock:
            known = self._heard.setdefault(address, {})
            if len(known) < MOST and heard != Heard():
                known.setdefault(heard)
        return answer

    def close(self) -> None:
        self._probe.close()

    def heard(self, address: str) -> Sequence[Heard]:
        """What the answers from ``address`` have said so far, each thing once."""
        with self._lock:
            return tuple(self._heard.get(address, ()))


@dataclass(frozen=True, slots=True)
class Identities:
    """What both sides serve, as far as anybody says."""

    baseline: Identity = NOBODY
    canary: Identity = NOBODY
    differ: str = ""
    """Why they are not known to serve the same; empty when they do."""
    refused: bool = False
    """Whether that ends the rollout."""

    @property
    def unknown(self) -> bool:
        """Whether one side does not say."""
        return not (self.baseline.said and self.canary.said)

    def __str__(self) -> str:
        if self.unknown:
            known = self.baseline if self.baseline.said else self.canary
            return f"model {known}" if known.said else ""
        if not self.differ:
            return f"model {self.canary}"
        return f"model change: from {self.baseline} to {self.canary}"


class Identifier:
    """Asks about both sides of one rollout."""

    def __init__(self, world: World, probe: Listening, wanted: Wanted, digests: Digests, tick: Tick) -> None:
        self._world, self._heard, self._wanted = world, probe.heard, wanted
        self._digests, self._tick = digests, tick
        self._asked: frozenset[str] = frozenset()

    def ask(self, stable: Revision, canary: Revision, health: str, prompts: Sequence[Prompt]) -> Identities:
        """What both sides serve, the stable build after ``prompts`` where it has not been asked yet.

        Raises:
            ModelMismatch: one side says two things.

        """
        wanted = self._wanted
        if not wanted.served:
            return Identities()
        if not wanted.compared:  # a plain service: what its list of models says is told, and refuses nothing
            ours, theirs = (settled(role, self._listed(build)) for role, build in _sides(stable, canary))
            return Identities(ours, theirs, differ(ours, theirs) if ours.said and theirs.said else "")
        self._listen(stable, health, prompts)
        self._asked = self._asked_of_both(stable, canary)
        self._await_labels(stable, canary)
        ours, theirs = (settled(role, self._said(role, build)) for role, build in _sides(stable, canary))
        header = wanted.header if "header" in wanted.sources else ""
        return Identities(ours, theirs, differ(ours, theirs, header), wanted.same)

    def _listen(self, stable: Revision, health: str, prompts: Sequence[Prompt]) -> None:
        """The canary has been asked by smoke and warm-up; let the stable build answer the same."""
        if not {"answers", "header"} & set(self._wanted.sources):
            return
        address = self._world.platform.address(stable)
        if not self._heard(address):
            for prompt in (Prompt(path=health, method="GET"), *prompts):
                self._world.probe.ask(address, prompt)

    def _asked_of_both(self, stable: Revision, canary: Revision) -> frozenset[str]:
        """Names of models under which both have been asked: a gateway has many, and warm-up asked for more of them."""
        ours, theirs = (
            {one.asked for one in self._heard(self._world.platform.address(build))} for build in (stable, canary)
        )
        return frozenset(ours & theirs or ours | theirs)

    def _heard_of(self, revision: Revision) -> list[Heard]:
        return [one for one in self._heard(self._world.platform.address(revision)) if one.asked in self._asked]

    def _await_labels(self, stable: Revision, canary: Revision) -> None:
        """Where labels alone tell, wait for a canary that has just come up to be scraped."""
        clock, interval = self._world.clock, self._world.source.interval_seconds
        until = clock.now() + SCRAPES * (SCRAPE_SECONDS if interval is None else interval)
        while "labels" in self._wanted.sources and clock.now() < until:
            told = [bool(self._labelled(role)) for role in (Role.BASELINE, Role.CANARY)]
            others = (one.source for role, build in _sides(stable, canary) for one in self._said(role, build))
            if told[0] == told[1] or set(others) != {Source.LABELS}:
                return
            self._tick(f"the canary's series to say which model it serves, {until - clock.now():.0f} s left")
            clock.sleep(1.0)

    def _said(self, role: Role, revision: Revision) -> list[Said]:
        said, stated = list[Said](), self._wanted.of(role)
        if stated is not None:
            said.append(self._digests.said(stated))
        if "models" in self._wanted.sources:
            said += self._listed(revision)
        said += answered(self._heard_of(revision), self._wanted)
        if "labels" in self._wanted.sources:
            said += self._labelled(role)
        return said

    def _listed(self, revision: Revision) -> list[Said]:
        listed = self._world.platform.model(revision)
        return [Said.by(Source.MODELS, listed)] if listed else []

    def _labelled(self, role: Role) -> list[Said]:
        models = getattr(self._world.source, "models", None)  # a source of somebody's own need not have it
        try:
            named = models(role) if models else {}
        except NoData:
            return []
        return list(dict.fromkeys(Said.by(Source.LABELS, one) for one in named.values() if one))


def _sides(stable: Revision, canary: Revision) -> tuple[tuple[Role, Revision], tuple[Role, Revision]]:
    return (Role.BASELINE, stable), (Role.CANARY, canary)
