"""The polls of one stage, for a gate that appears later: thousands of them, of dozens of replicas, in little room."""

from __future__ import annotations

import zlib
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from pytest_canary.ports import Role
from pytest_canary.verdict.frame import Array, Flags, Frame, Layout

FAST = 1
"""How hard to pack: nearly all that is counted from one poll to the next is nought, so harder gains little."""
Poll = tuple[Array, Array, Mapping[Role, Frame]]
"""From when to when, and what every role counted meanwhile."""


class Polls:
    """The last ``most`` polls of one rollout, as they were to the last digit."""

    def __init__(self, most: int) -> None:
        self._most, self._number = most, 0
        self._kept: deque[tuple[Array, Array, Mapping[Role, Frame | _Packed]]] = deque()
        self._shapes: dict[Role, _Shape] = {}

    def add(self, since: Array, at: Array, increments: Mapping[Role, Frame]) -> None:
        """Keep one more; or several, one in each row."""
        self._kept.append((since, at, {role: self._put(role, frame) for role, frame in increments.items()}))
        self._number += at.size
        while self._number > self._most and len(self._kept) > 1:
            self._forget(self._number - self._most)

    def __iter__(self) -> Iterator[Poll]:
        """Each once more, one at a time."""
        for since, at, each in self.blocks():
            for row in np.arange(at.size)[:, None]:
                yield since[row], at[row], {role: frame.keep(row) for role, frame in each.items()}

    def blocks(self) -> Iterator[Poll]:
        """The same as they came: one, or several in as many rows."""
        for since, at, kept in self._kept:
            yield since, at, {role: one if isinstance(one, Frame) else one.frame() for role, one in kept.items()}

    def _forget(self, most: int) -> None:
        """Let the oldest go, so many of them at most: a gate that comes later sees as many, however they came."""
        since, at, kept = self._kept.popleft()
        self._number -= min(most, at.size)
        if most < at.size:
            rows = np.arange(most, at.size)  # what has parts came alone, so it went as a whole
            left = {role: one.keep(rows) for role, one in kept.items() if isinstance(one, Frame)}
            self._kept.appendleft((since[rows], at[rows], left))

    @property
    def last(self) -> Poll:
        """What was added last, which has no parts: all of its rows."""
        since, at, kept = self._kept[-1]
        return since, at, {role: one for role, one in kept.items() if isinstance(one, Frame)}

    def _put(self, role: Role, frame: Frame) -> Frame | _Packed:
        if not (frame.replicas or frame.strata):
            return frame
        shape, known = _Shape.of(frame), self._shapes.get(role)
        if known is None or shape != known:
            self._shapes[role] = known = shape
        numbers = np.concatenate([part for one in _parts(frame) for part in (one.at, one.values[0])])
        return _Packed(known, zlib.compress(numbers.tobytes(), FAST))


@dataclass(frozen=True, slots=True)
class _Shape:
    """A frame without its numbers; one for all polls, as long as no replica comes or goes."""

    layout: Layout
    there: Flags | None
    replicas: tuple[tuple[str, _Shape], ...]
    strata: tuple[tuple[str, tuple[tuple[str, _Shape], ...]], ...]

    @classmethod
    def of(cls, frame: Frame) -> _Shape:
        strata = tuple((label, cls._each(parts)) for label, parts in frame.strata.items())
        return cls(frame.layout, frame.there, cls._each(frame.replicas), strata)

    @classmethod
    def _each(cls, parts: Mapping[str, Frame]) -> tuple[tuple[str, _Shape], ...]:
        return tuple((name, cls.of(part)) for name, part in parts.items())

    def filled(self, numbers: Iterator[Array]) -> Frame:
        """The frame whose parts have these times and values."""
        at, values = next(numbers), next(numbers)
        replicas = {name: shape.filled(numbers) for name, shape in self.replicas}
        strata = {label: {name: shape.filled(numbers) for name, shape in parts} for label, parts in self.strata}
        return Frame(at, self.layout, values.reshape(1, -1), replicas, strata, self.there)

    def widths(self) -> Iterator[int]:
        """How many numbers each part has: its time, its values, and so on."""
        yield from (1, self.layout.width)
        for _, shape in self.replicas:
            yield from shape.widths()
        for _, parts in self.strata:
            for _, shape in parts:
                yield from shape.widths()


@dataclass(frozen=True, slots=True)
class _Packed:
    shape: _Shape
    numbers: bytes

    def frame(self) -> Frame:
        """As it was."""
        ends = np.cumsum(list(self.shape.widths()))[:-1]
        return self.shape.filled(iter(np.split(np.frombuffer(zlib.decompress(self.numbers)), ends)))


def _parts(frame: Frame) -> Iterator[Frame]:
    yield frame
    for part in frame.replicas.values():
        yield from _parts(part)
    for parts in frame.strata.values():
        for part in parts.values():
            yield from _parts(part)
