"""Let a fresh canary fill its caches; nothing of this is ever counted."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import cycle, islice
from statistics import median

from pytest_canary.errors import NotStarted
from pytest_canary.plan import Warmup
from pytest_canary.ports import Answer, Clock, Probe, Prompt
from pytest_canary.steps.deploy import Tick
from pytest_canary.steps.smoke import wrong

STEADY_ANSWERS = 40
STEADY_WITHIN = 0.15


@dataclass(frozen=True, slots=True)
class Warmed:
    """How long the canary was warmed, with how much, and what ended it."""

    seconds: float
    requests: int
    tokens: int
    failed: int
    ended_by: str

    def __str__(self) -> str:
        failed = f", {self.failed} failed" if self.failed else ""
        return f"{self.requests} requests in {self.seconds:.1f} s{failed}, ended by {self.ended_by}"


def warm(probe: Probe, address: str, warmup: Warmup, clock: Clock, tick: Tick) -> Warmed:
    """Send ``warmup.prompts`` to ``address`` until its first limit is reached or latency is steady.

    Raises:
        NotStarted: more than half of the warm-up requests failed.

    """
    start, answers = clock.now(), list[Answer]()
    if warmup.seconds <= 0 or not warmup.prompts:
        return Warmed(0.0, 0, 0, 0, "nothing to do")
    prompts = cycle(warmup.prompts)
    with ThreadPoolExecutor(max_workers=1 if clock.virtual else warmup.concurrency) as pool:
        ended = ""
        while not ended:
            tick(f"warm-up: {len(answers)} requests, {warmup.seconds - (clock.now() - start):.0f} s left")
            batch = list(islice(prompts, warmup.concurrency))
            answers += _round(pool, probe, address, batch, clock)
            ended = _ended(warmup, answers, clock.now() - start)
    failed = sum(bool(wrong(answer)) for answer in answers)
    if failed > len(answers) / 2:
        fault = next(filter(None, map(wrong, answers)))
        raise NotStarted(f"warm-up: {failed} of {len(answers)} requests to the canary failed, first: {fault}")
    return Warmed(clock.now() - start, len(answers), _tokens(answers), failed, ended)


def _round(
    pool: ThreadPoolExecutor, probe: Probe, address: str, prompts: Sequence[Prompt], clock: Clock
) -> Iterator[Answer]:
    answers = list(pool.map(lambda prompt: probe.ask(address, prompt), prompts))
    if clock.virtual:
        clock.sleep(max([answer.seconds for answer in answers] + [0.01]))
    elif any(answer.status == 0 for answer in answers):
        clock.sleep(0.2)  # a refused connection answers at once; do not spin on it
    return iter(answers)


def _tokens(answers: Sequence[Answer]) -> int:
    return sum(answer.tokens or 0 for answer in answers)


def _ended(warmup: Warmup, answers: Sequence[Answer], seconds: float) -> str:
    if seconds >= warmup.seconds:
        return "time"
    if warmup.requests is not None and len(answers) >= warmup.requests:
        return "requests"
    if warmup.tokens is not None and _tokens(answers) >= warmup.tokens:
        return "tokens"
    if warmup.until_steady and steady([answer.seconds for answer in answers]):
        return "steady latency"
    return ""


def steady(seconds: Sequence[float]) -> bool:
    """Whether the last two runs of answers have the same median, within 15 %.

    Runs are at least ``STEADY_ANSWERS`` long, so that both hold every kind of prompt.
    """
    if len(seconds) < 2 * STEADY_ANSWERS:
        return False
    before, now = median(seconds[-2 * STEADY_ANSWERS : -STEADY_ANSWERS]), median(seconds[-STEADY_ANSWERS:])
    return abs(now - before) <= STEADY_WITHIN * max(before, 1e-9)
