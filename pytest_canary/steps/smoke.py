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
    """What the canary answered: how many requests, and the slowest of them."""

    asked: int
    slowest_seconds: float

    def __str__(self) -> str:
        return f"{self.asked} requests answered, slowest {self.slowest_seconds * 1000:.0f} ms"


def smoke(probe: Probe, address: str, health: str, prompts: Sequence[Prompt]) -> Smoked:
    """Ask for health, then for each of ``prompts``, straight at ``address``.

    Raises:
        SmokeFailed: an answer was missing, cut short, empty or wrong, twice in a row.

    """
    questions = [Prompt(path=health, method="GET"), *prompts]
    return Smoked(len(questions), max(_ask(probe, address, question).seconds for question in questions))


def _ask(probe: Probe, address: str, prompt: Prompt) -> Answer:
    for _ in range(TRIES):
        answer = probe.ask(address, prompt)
        fault = wrong(answer)
        if not fault:
            return answer
    kind = "stream " if prompt.stream else ""
    raise SmokeFailed(f"smoke: {kind}{prompt.method} {prompt.path} straight to the canary: {fault}")


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
