"""Whether a build that is being warmed has stopped getting faster."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import ceil, gcd, inf
from statistics import median

from pytest_canary.ports import Prompt

WINDOW = 40
"""Answers in a window at least."""
CYCLE = 200
"""Answers; a window is whole rounds through all prompts, unless one round is longer than that."""
WITHIN = 0.10
SPREAD = 4
"""Prompts are told apart as short and long when the longest is so many times the shortest."""
FEW = 5
"""With fewer answers of one kind in a window, their median says nothing."""


@dataclass(frozen=True, slots=True)
class Kind:
    """Prompts whose answers take about as long: warm for short ones is not warm for long ones."""

    stream: bool
    long: bool


@dataclass(frozen=True, slots=True)
class Took:
    """What one good answer took."""

    kind: Kind
    seconds: float
    first_seconds: float
    """Until the first token of a stream; for any other answer the same as ``seconds``."""
    tokens: int | None


@dataclass(frozen=True, slots=True)
class Round:
    """Prompts asked at the same time: how many, how long until the last was answered, and the good answers."""

    asked: int
    seconds: float
    took: tuple[Took, ...]


@dataclass(frozen=True, slots=True)
class Speed:
    """How fast a window was."""

    ttft_seconds: float | None
    """Median of the streams."""
    answer_seconds: float | None
    """Median of all answers."""
    tokens_per_second: float | None
    """All answers of the window together; None where they do not say their tokens."""
    answers_per_second: float
    first_seconds: Mapping[Kind, float]
    """Median of each kind that has enough answers."""

    def __str__(self) -> str:
        if self.answer_seconds is None:
            return "nothing answered"
        first = f"TTFT {_time(self.ttft_seconds)}" if self.ttft_seconds is not None else _time(self.answer_seconds)
        unit = "answers" if self.tokens_per_second is None else "tokens"
        return f"{first}, {self.flow:.{0 if self.flow >= 10 else 1}f} {unit}/s"

    def like(self, before: Speed) -> bool:
        """Whether first tokens of every kind come, and answers flow, as fast as ``before``, within 10 %."""
        kinds = self.first_seconds.keys() & before.first_seconds.keys()
        return (
            bool(kinds)
            and all(_near(self.first_seconds[kind], before.first_seconds[kind]) for kind in kinds)
            and _near(self.flow, before.flow)
        )

    @property
    def flow(self) -> float:
        """Tokens per second, or answers where tokens are not told."""
        return self.answers_per_second if self.tokens_per_second is None else self.tokens_per_second


def kinds(prompts: Sequence[Prompt]) -> Iterator[Kind]:
    """The kind of each of ``prompts``."""
    sizes = [len(json.dumps(prompt.body)) for prompt in prompts]
    least, most = min(sizes), max(sizes)
    border = (least * most) ** 0.5 if most > SPREAD * least else inf
    for prompt, size in zip(prompts, sizes, strict=True):
        yield Kind(prompt.stream, size > border)


def _least(asked: Sequence[Kind]) -> int:
    """How many answers a window needs so that every kind is in it often enough."""
    rarest = min(asked.count(kind) for kind in set(asked))
    return max(WINDOW, min(CYCLE, ceil(FEW * len(asked) / rarest)))


def windows(rounds: Sequence[Round], asked: Sequence[Kind]) -> Iterator[Speed]:
    """The speed of the last windows of ``rounds``, newest first: two, or one where there are not enough rounds.

    Only rounds as wide as the last count.  A window is at least a third of those, so that chance weighs less the longer
    it takes, and holds every prompt equally often (``asked`` has the kind of each), so that like is compared with like.
    """
    wide = rounds[-1].asked if rounds else 1
    rounds = [one for one in rounds if one.asked == wide]
    cycle = len(asked) // gcd(len(asked), wide)
    cycle = cycle if cycle * wide <= CYCLE else 1
    each = cycle * ceil(max(_least(asked) / wide, len(rounds) / 3) / cycle)
    yield _speed(rounds[-each:])
    if len(rounds) >= 2 * each:
        yield _speed(rounds[-2 * each : -each])


def _speed(rounds: Sequence[Round]) -> Speed:
    took = [one for each in rounds for one in each.took]
    seconds = max(sum(each.seconds for each in rounds), 1e-9)
    tokens = [one.tokens for one in took if one.tokens is not None]
    by_kind: dict[Kind, list[float]] = {}
    for one in took:
        by_kind.setdefault(one.kind, []).append(one.first_seconds)
    return Speed(
        _median(one.first_seconds for one in took if one.kind.stream),
        _median(one.seconds for one in took),
        sum(tokens) / seconds if tokens else None,
        len(took) / seconds,
        {kind: median(firsts) for kind, firsts in by_kind.items() if len(firsts) >= FEW},
    )


def _median(values: Iterable[float]) -> float | None:
    found = list(values)
    return median(found) if found else None


def _near(now: float, before: float) -> bool:
    return abs(now - before) <= WITHIN * max(before, 1e-9)


def _time(seconds: float) -> str:
    return f"{seconds * 1000:.0f} ms" if seconds < 1 else f"{seconds:.1f} s"
