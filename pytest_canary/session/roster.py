"""The rollouts that were met while collecting: which items are theirs, in which order, and which one is shipped."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import pytest

from pytest_canary import world
from pytest_canary.errors import PlanError, SpecError
from pytest_canary.plan import Plan, belongs, make_plan
from pytest_canary.session import fixtures
from pytest_canary.session.collection import Home, Phase, RolloutFile, declared_name, phase_of, stage_of
from pytest_canary.standin import MADE_UP


class Roster:
    """Homes by folder, plans by folder, and the home of every item of ours."""

    def __init__(self, config: pytest.Config) -> None:
        self.config = config
        self.homes: dict[Path, Home] = {}
        self.plans: dict[Path, Plan] = {}
        self._ours: dict[str, Home] = {}

    def met(self, folder: Path, file_path: Path, parent: pytest.Collector) -> pytest.Collector | None:
        """Read the rollout of ``folder`` once, lend its folder our fixtures, and collect the file itself."""
        home = self.homes.get(folder)
        if home is None:
            home = self.homes[folder] = Home.read(folder, self.config)
        if not home.fixtures:
            node: Any = parent
            while node.parent is not None and node.path != folder:
                node = node.parent
            fixtures.register(node)
            home.fixtures = True
        if file_path != folder / "rollout.yaml":
            return None
        collector: RolloutFile = RolloutFile.from_parent(parent, path=file_path)
        collector.home = home
        return collector

    def take(self, item: pytest.Item, folder: Path | None) -> None:
        """Remember ``item`` as one of the rollout in ``folder``, if there is one."""
        if folder is not None and folder in self.homes:
            self._ours[item.nodeid] = self.homes[folder]

    def home_of(self, item: pytest.Item) -> Home | None:
        """The rollout that ``item`` belongs to; None for a test that has nothing to do with us."""
        return self._ours.get(item.nodeid)

    def rank(self, item: pytest.Item) -> tuple[int, int, int]:
        """Where ``item`` stands: by phase, by stage, declared gates first, because the first of them holds."""
        if self.home_of(item) is None:
            return (Phase.ELSEWHERE, 0, 0)
        stage = stage_of(item)
        return (phase_of(item), stage.index if stage else 0, 0 if declared_name(item) else 1)

    def key(self, item: pytest.Item) -> str:
        """What ``item`` proves when it passes: a gate at a stage, however often it is repeated, or a test."""
        home, gate = self.home_of(item), declared_name(item)
        return f"{home.node}::{gate}[{stage_of(item)}]" if home and gate else item.nodeid

    @property
    def unreadable(self) -> bool:
        """Whether a rollout.yaml has mistakes; pytest reports them as collection errors."""
        return any(home.error for home in self.homes.values())

    def make_plans(self, collected: Sequence[pytest.Item]) -> Home | None:
        """Plan every rollout; returns the one that is shipped in this session.

        Raises:
            pytest.UsageError: a plan cannot be made, or the image fits no rollout or several.

        """
        image = self.config.getoption("canary_image") or (MADE_UP if self.simulating else None)
        active = self._fitting(image) if image else None
        for folder, home in self.homes.items():
            mine = [item for item in collected if self.home_of(item) is home and stage_of(item)]
            try:
                self.plans[folder] = _plan(home, mine, named(image, home) if home is active else None)
            except (PlanError, SpecError) as error:
                raise pytest.UsageError(str(error)) from error
        return active

    @property
    def simulating(self) -> bool:
        """Whether this session is of a build and of traffic that are made up."""
        return self.config.getoption("canary_simulate") is not None

    def _fitting(self, image: str) -> Home:
        homes = list(self.homes.values())
        if len(homes) == 1:
            return homes[0]
        fitting = [home for home in homes if home.spec and belongs(image, home.spec.service)]
        if len(fitting) == 1:
            return fitting[0]
        found = "no collected rollout" if not fitting else f"{len(fitting)} collected rollouts"
        here = self.config.invocation_params.dir
        folders = [os.path.relpath(home.folder, here) for home in (fitting or homes)]
        given = [] if image == MADE_UP else [f"--image={image}"]
        given += _typed(self.config)
        commands = "; ".join(shlex.join(["pytest", f"{folder}/", *given]) for folder in folders)
        if image == MADE_UP:
            raise pytest.UsageError(
                f"--canary-simulate is of one rollout, and {found} fits; name its folder: {commands}"
            )
        raise pytest.UsageError(f"--image={image} fits {found}; name the folder of the one you mean: {commands}")


def _typed(config: pytest.Config) -> list[str]:
    """What was typed besides, so that a command that is pasted means the same run."""
    named = [
        ("--canary-target", config.getoption("canary_target")),
        ("--canary-state", config.getoption("canary_state")),
        ("--canary-simulate", config.getoption("canary_simulate")),
    ]
    return [
        *(f"{option}={value}" for option, value in named if value),
        *(["--canary-simulate"] if config.getoption("canary_simulate") == "" else []),
        *(word for override in config.getoption("canary_set") for word in ("--canary-set", override)),
        *(f"--canary-inject={text}" for text in config.getoption("canary_inject")),
    ]


def named(image: str | None, home: Home) -> str | None:
    """``image``; a build of this service where one was made up."""
    return f"{home.spec.service}:{MADE_UP}" if image == MADE_UP and home.spec else image


def _plan(home: Home, items: Iterable[pytest.Item], image: str | None) -> Plan:
    assert home.spec is not None
    tests = [item for item in items if not declared_name(item)]
    return make_plan(
        home.spec,
        rollout=home.node,
        image=image,
        marked=[(mark.args, mark.kwargs, item.nodeid) for item in tests for mark in item.iter_markers("gate")],
        required_tests=[item.nodeid for item in tests if item.get_closest_marker("advisory") is None],
        now=world.clock_of(home.spec).wall(),
    )
