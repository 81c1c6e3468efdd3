"""Ask the canary directly, before any user does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pytest_canary.errors import SmokeFailed
from pytest_canary.ports import Answer, Probe, Prompt

# A build that fails one request in five hundred is healthy; one repeat tells it from one that fails always.
TRIES = 2


@dataclass(frozen=True, slots=True)
class Smoked:
    """What the canary answered: how many requests, how slow the slowest of them was, and what it refused to answer."""

    asked: int
    slowest_seconds: float
    ttft_seconds: float | None = None
    """The longest that a first token took; None without streams."""
    gap_seconds: float | None = None
    """The longest that a stream stood still."""
    refusals: tuple[str, ...] = ()

    def __str__(self) -> str:
        said = [f"{self.asked} requests answered, slowest {_ms(self.slowest_seconds)}"]
        if self.ttft_seconds is not None:
            said.append(f"first token {_ms(self.ttft_seconds)}")
        if self.gap_seconds is not None:
            said.append(f"longest gap {_ms(self.gap_seconds)}")
        if self.refusals:
            said.append(f"{len(self.refusals)} refused, first: {self.refusals[0]}")
        return ", ".join(said)


def smoke(probe: Probe, address: str, health: str, prompts: Sequence[Prompt]) -> Smoked:
    """Ask for health, then for each of ``prompts``, straight at ``address``.

    Raises:
        SmokeFailed: an answer was missing, cut short, empty or wrong, twice in a row.

    """
    questions = [Prompt(path=health, method="GET"), *prompts]
    answers = [_ask(probe, address, question) for question in questions]
    return Smoked(
        len(answers),
        max(answer.seconds for answer in answers),
        max((answer.ttft_seconds for answer in answers if answer.ttft_seconds is not None), default=None),
        max((answer.gap_longest_seconds for answer in answers if answer.gap_longest_seconds is not None), default=None),
        tuple(answer.refusal for answer in answers if answer.refusal),
    )


def _ask(probe: Probe, address: str, prompt: Prompt) -> Answer:
    for _ in range(TRIES):
        answer = probe.ask(address, prompt)
        fault = wrong(answer)
        if not fault:
            return answer
    kind = "stream " if prompt.stream else ""
    raise SmokeFailed(f"smoke: {kind}{prompt.method} {prompt.path} straight to the canary: {fault}")


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:.0f} ms"


def wrong(answer: Answer) -> str:
    """What is wrong with ``answer``, or nothing."""
    if answer.error:
        return answer.error
    if answer.status == 0:
        return "no answer"
    if answer.status >= 400:
        return f"status {answer.status}, expected 200"
    if not answer.finished:
        return "the answer was cut short"
    return ""
