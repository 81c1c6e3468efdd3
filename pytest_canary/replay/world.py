"""A world in which a tape counts: builds that are always ready, weights that are always set, and nobody to disturb."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

from pytest_canary.ports import (
    Answer,
    Change,
    Clock,
    Fact,
    MetricSource,
    Platform,
    Probe,
    Prompt,
    Readiness,
    Revision,
    Role,
    Router,
    Sample,
    Shared,
    Weights,
    World,
)
from pytest_canary.recording import Recording
from pytest_canary.replay.tape import Tape


class _Adapter:
    def check(self) -> Sequence[str]:
        return []

    def recover(self, facts: Sequence[Fact]) -> None:
        """Nothing was left."""

    def start(self) -> None:
        """Nothing is started."""

    def stop(self) -> None:
        """Nothing runs."""


class TapePlatform(_Adapter):
    """Two builds of which one was recorded beside the other."""

    lasting = False

    def __init__(self, tape: Tape, stable: Revision, canary: Revision) -> None:
        self._tape, self._stable, self._canary = tape, stable, canary

    def stable(self) -> Revision:
        return self._stable

    def previous(self) -> Revision | None:
        return None

    def resolve(self, image: str, change: Change) -> Revision:
        del image, change
        return self._canary

    def deploy(self, revision: Revision) -> None:
        """It was there."""

    def scale(self, revision: Revision, replicas: int) -> None:
        """It had as many as it had."""

    def grow(self, revision: Revision, share: float) -> None:
        """What a stage takes was there when it began: play up to that moment."""
        del share
        if revision == self._canary:
            self._tape.to_stage()

    def ready(self, revision: Revision) -> Readiness:
        del revision
        return Readiness(True)

    def strays(self) -> Sequence[Revision]:
        return []

    def copies(self, revision: Revision) -> frozenset[str] | None:
        del revision
        return None

    def hurt(self, revision: Revision) -> str:
        del revision
        return ""

    def address(self, revision: Revision) -> str:
        return f"replay://{revision.pin}"

    def model(self, revision: Revision) -> str | None:
        del revision
        return None

    def promote(self, canary: Revision) -> Revision:
        self._stable = canary
        return canary

    def remove(self, revision: Revision) -> None:
        """It is gone."""


class TapeRouter(_Adapter):
    """Knows the weights that were set last."""

    def __init__(self) -> None:
        self._weights: dict[Role, float] = {Role.BASELINE: 1.0}

    def address(self) -> str:
        return "replay://users"

    def attach(self, role: Role, revision: Revision, address: str) -> None:
        del revision, address
        self._weights.setdefault(role, 0.0)

    def detach(self, role: Role) -> None:
        self._weights.pop(role, None)

    def weights(self) -> Weights:
        return dict(self._weights)

    def set_weights(self, weights: Weights) -> None:
        self._weights = {**dict.fromkeys(self._weights, 0.0), **weights}

    def in_flight(self, role: Role) -> int:
        del role
        return 0

    def mirror(self, share: float) -> None:
        """Nobody sends anything."""


class TapeSource(_Adapter):
    """Tells what was recorded at the moment at which the tape is."""

    def __init__(self, tape: Tape) -> None:
        self._tape = tape

    @property
    def interval_seconds(self) -> float | None:
        """How often what was told was renewed then."""
        return self._tape.interval

    def poll(self, roles: Sequence[Role]) -> Mapping[Role, Sample]:
        return self._tape.poll(roles)


class TapeProbe:
    """Whoever is asked answers; nobody is."""

    def ask(self, address: str, prompt: Prompt) -> Answer:
        del address, prompt
        return Answer(200, 0.0)

    def close(self) -> None:
        """There is no connection."""


class Forgetful:
    """A :class:`~pytest_canary.ports.Ledger` of a rollout that leaves nothing to be put right."""

    def acquire(self, run: str) -> None:
        """Nobody else is there."""

    def renew(self) -> None:
        """As long as it takes."""

    def append(self, fact: Fact) -> None:
        """Nothing was done."""

    def read(self) -> Sequence[Fact]:
        return []

    def close_chapter(self, keep: Sequence[Fact] = ()) -> None:
        """There is none."""

    def release(self) -> None:
        """Nothing was held."""


class Unwritten(Recording):
    """A recording that is not written a second time."""

    def __init__(self) -> None:
        super().__init__(Path())

    def write_sample(self, *told: Any, **more: Any) -> None:
        """It stands in a file already."""

    def write_event(self, at: float, kind: str, **data: Any) -> None:
        """It happens to nobody."""


def builds_of(tape: Tape) -> Mapping[Role, Revision]:
    """The builds that were compared; by their images where nothing more is known."""
    told, header = tape.then.builds, tape.then.header
    service = header.service or "service"
    names = {Role.BASELINE: f"{service}:stable", Role.CANARY: header.image or f"{service}:canary"}
    known = {role: one for role in names if (one := _revision(told.get(str(role)))) is not None}
    # Nothing is started anew, so a rollout over a tape promotes in one step, wherever the run did not.
    return {role: replace(known.get(role, Revision(image, str(role))), place="") for role, image in names.items()}


def _revision(told: Any) -> Revision | None:
    """Which build that was; None where nobody can say, for a replay only shows its name."""
    try:
        found = Revision.from_data(told)
        return found if found.pin and isinstance(found.image, str) else None
    except (TypeError, ValueError, LookupError, AttributeError):
        return None


def world_of(tape: Tape, service: str) -> World:
    """The world of one tape."""
    clock, builds = cast(Clock, tape), builds_of(tape)
    platform = TapePlatform(tape, builds[Role.BASELINE], builds[Role.CANARY])
    return World(
        cast(Platform, platform),
        cast(Router, TapeRouter()),
        cast(MetricSource, TapeSource(tape)),
        cast(Probe, TapeProbe()),
        clock,
        Shared(service, clock, Path(), Path()),
    )
