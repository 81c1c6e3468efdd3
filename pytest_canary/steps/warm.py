"""Let a fresh canary fill its caches; nothing of this is ever counted."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import cycle, islice

from pytest_canary.errors import NotStarted
from pytest_canary.plan import Warmup
from pytest_canary.ports import Answer, Clock, Probe, Prompt
from pytest_canary.steps.deploy import Tick
from pytest_canary.steps.smoke import wrong
from pytest_canary.steps.steady import Kind, Round, Took, kinds, windows

ROUNDS_PER_WIDTH = 2
"""Requests at a time double after so many rounds: a server compiles for each number that it meets."""
LOOKS = 20
"""The next look comes after a twentieth more rounds: every look at chance is a chance to be wrong, and costs time."""


@dataclass(frozen=True, slots=True)
class Warmed:
    """How long the canary was warmed, with how much, what ended it, and how fast it was then."""

    seconds: float
    requests: int
    tokens: int
    failed: int
    ended_by: str
    first_fault: str = ""
    """What was wrong with the first that failed."""
    ttft_seconds: float | None = None
    """Median time to the first token in the last window; None without streams."""
    tokens_per_second: float | None = None
    """In the last window; None where answers do not say their tokens."""
    speed: str = ""
    """The same in words."""

    def __str__(self) -> str:
        failed = f", {self.failed} failed" if self.failed else ""
        speed = f": {self.speed}" if self.speed else ""
        return f"{self.requests} requests in {self.seconds:.1f} s{failed}, ended by {self.ended_by}{speed}"


@dataclass(slots=True)
class _Heat:
    """What has been answered so far."""

    kinds: tuple[Kind, ...]
    """Of every prompt."""
    rounds: list[Round] = field(default_factory=list)
    requests: int = 0
    tokens: int = 0
    faults: list[str] = field(default_factory=list)
    looked: int = 0
    """Rounds at the last look at whether it is steady."""

    def take(self, asked: Sequence[Kind], answers: Sequence[Answer], seconds: float) -> None:
        """Add one round that took ``seconds``, or as long as its slowest answer says where nobody really waited."""
        faults = [wrong(answer) for answer in answers]
        good = [(kind, answer) for kind, answer, fault in zip(asked, answers, faults, strict=True) if not fault]
        took = tuple(_took(kind, answer) for kind, answer in good)
        seconds = max([seconds, *(answer.seconds for answer in answers)])
        self.rounds.append(Round(len(answers), seconds, took))
        self.requests += len(answers)
        self.tokens += sum(answer.tokens or 0 for answer in answers)
        self.faults += [fault for fault in faults if fault]


def warm(probe: Probe, address: str, warmup: Warmup, clock: Clock, tick: Tick) -> Warmed:
    """Send ``warmup.prompts`` to ``address``, more and more at a time, until a limit is reached or it is steady.

    Raises:
        NotStarted: more than half of the warm-up requests failed.

    """
    if warmup.seconds <= 0 or not warmup.prompts:
        return Warmed(0.0, 0, 0, 0, "nothing to do")
    start, heat = clock.now(), _Heat(tuple(kinds(warmup.prompts)))
    prompts = cycle(zip(warmup.prompts, heat.kinds, strict=True))
    with ThreadPoolExecutor(max_workers=1 if clock.virtual else warmup.concurrency) as pool:
        ended = ""
        while not ended:
            tick(f"warm-up: {heat.requests} requests, {warmup.seconds - (clock.now() - start):.0f} s left")
            batch = list(islice(prompts, _width(len(heat.rounds), warmup.concurrency)))
            began = clock.now()
            answers = list(_round(pool, probe, address, [prompt for prompt, _ in batch], clock))
            heat.take([kind for _, kind in batch], answers, clock.now() - began)
            ended = _ended(warmup, heat, clock.now() - start)
    faults = heat.faults
    if len(faults) > heat.requests / 2:
        raise NotStarted(f"warm-up: {len(faults)} of {heat.requests} requests to the canary failed, first: {faults[0]}")
    return _warmed(heat, clock.now() - start, ended)


def _width(rounds: int, most: int) -> int:
    """How many requests are sent at a time after so many ``rounds``."""
    return min(most, 1 << min(rounds // ROUNDS_PER_WIDTH, 16))


def _round(
    pool: ThreadPoolExecutor, probe: Probe, address: str, prompts: Sequence[Prompt], clock: Clock
) -> Iterator[Answer]:
    answers = list(pool.map(lambda prompt: probe.ask(address, prompt), prompts))
    if clock.virtual:
        clock.sleep(max([answer.seconds for answer in answers] + [0.01]))
    elif any(answer.status == 0 for answer in answers):
        clock.sleep(0.2)  # a refused connection answers at once; do not spin on it
    return iter(answers)


def _took(kind: Kind, answer: Answer) -> Took:
    first = answer.seconds if answer.ttft_seconds is None else answer.ttft_seconds
    return Took(kind, answer.seconds, first, answer.tokens)


def _ended(warmup: Warmup, heat: _Heat, seconds: float) -> str:
    steady = warmup.until_steady and _steady(warmup, heat)
    if steady:
        return (
            "steady TTFT and throughput"
            if any(prompt.stream for prompt in warmup.prompts)
            else "steady latency and throughput"
        )
    unsteady = ", not steady yet" if warmup.until_steady else ""
    if seconds >= warmup.seconds:
        return f"time{unsteady}"
    if warmup.requests is not None and heat.requests >= warmup.requests:
        return f"requests{unsteady}"
    if warmup.tokens is not None and heat.tokens >= warmup.tokens:
        return f"tokens{unsteady}"
    return ""


def _steady(warmup: Warmup, heat: _Heat) -> bool:
    """Whether the last two windows, asked with full concurrency, were equally fast."""
    rounds = len(heat.rounds)
    if heat.rounds[-1].asked < warmup.concurrency or rounds - heat.looked <= rounds / LOOKS:
        return False
    heat.looked = rounds
    now, *before = windows(heat.rounds, heat.kinds)
    return bool(before) and now.like(before[0])


def _warmed(heat: _Heat, seconds: float, ended: str) -> Warmed:
    now = next(windows(heat.rounds, heat.kinds))
    first = heat.faults[0] if heat.faults else ""
    return Warmed(
        seconds, heat.requests, heat.tokens, len(heat.faults), ended, first,
        now.ttft_seconds, now.tokens_per_second, str(now),
    )  # fmt: skip
