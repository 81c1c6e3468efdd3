"""How what was counted comes to a gate: poll by poll, or many polls of one rollout at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import deepcopy
from typing import TypeVar

import numpy as np

from pytest_canary.gates.side import Side
from pytest_canary.gates.values import Gate
from pytest_canary.gates.watch import Watch
from pytest_canary.ports import NOTHING, Role
from pytest_canary.stats.rows import successive
from pytest_canary.verdict.frame import Array, Flags, Frame
from pytest_canary.verdict.polls import Poll
from pytest_canary.verdict.readings import side_of
from pytest_canary.verdict.tally import StageTally

WORTH_IT = 8
"""Polls that it takes for all at once to be faster than one by one."""
_T = TypeVar("_T")


def feed(
    watch: Watch, reference: Frame | None, increments: Mapping[Role, Frame], since: Array, at: Array,
    where: Flags | None = None,
) -> None:  # fmt: skip
    """Let ``watch`` take in one poll of every rollout, or of those ``where`` there was one."""
    watch.observe(*sides(watch, reference, increments), since, at, where)


def sides(watch: Watch, reference: Frame | None, increments: Mapping[Role, Frame]) -> tuple[Side | None, Side | None]:
    """What was counted for a gate: by the canary, and by what it is compared with."""
    canary = increments.get(Role.CANARY)
    mine, theirs = (None if frame is None else side_of(watch.gate, frame) for frame in (canary, reference))
    return mine, theirs


def copied(one: _T, gates: Sequence[Gate], *kept: object) -> _T:
    """A copy that goes on by itself; gates are frozen, so both may have them, and what is ``kept``."""
    parts = (part for gate in gates for part in (gate, gate.levels, gate.metric, gate.limits))
    return deepcopy(one, {id(each): each for each in (NOTHING, *parts, *kept)})


def caught_up(watch: Watch, stage: StageTally) -> Watch:
    """``watch``, of one rollout, after all that its stage has counted so far."""
    for block in stage.polls.blocks():
        done, polls = 0, block[1].size
        while done < polls:
            watch, more = _some(watch, stage, _from(block, done))
            done += more
    return watch


def _some(watch: Watch, stage: StageTally, polls: Poll) -> tuple[Watch, int]:
    """Take in as many of these polls, one in each row, as can be at once, and at least one; how many they were."""
    since, at, increments = polls
    if at.size >= WORTH_IT and watch.follows(float(since[0])):
        reference = stage.compared_with(increments, at)
        sure = watch.followed(*sides(watch, reference, increments), since)
        if sure >= WORTH_IT:
            ahead = copied(watch, [watch.gate])
            ahead.keep(np.zeros(at.size, dtype=np.intp))
            with successive(at.size):
                feed(ahead, reference, increments, since, at)
            ahead.keep(np.array([sure - 1]))
            return ahead, sure
    since, at, increments = _from(polls, 0, 1)
    feed(watch, stage.compared_with(increments, at), increments, since, at)
    return watch, 1


def _from(polls: Poll, first: int, last: int | None = None) -> Poll:
    since, at, increments = polls
    rows = np.arange(at.size)[first:last]
    return since[rows], at[rows], {role: frame.keep(rows) for role, frame in increments.items()}
