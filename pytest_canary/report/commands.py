"""The commands that a report tells a person to type."""

from __future__ import annotations

import shlex
from pathlib import PurePath

from pytest_canary.outcome import End, Outcome

STATE = ".pytest_canary"
"""The folder that is found without being named."""


def next_steps(outcome: Outcome) -> tuple[str, ...]:
    """What to type now, most urgent first; each is one command, with the reason in front of it."""
    if outcome.end is End.NOT_RESTORED:
        return (
            f"see who holds what: {by_hand(outcome, 'status')}",
            f"put it back (safe to repeat): {by_hand(outcome, 'recover')}",
        )
    if outcome.end in (End.ROLLED_BACK, End.NOT_STARTED):
        return (f"nobody has to act now; mend the build, then: {again(outcome, image=_next_tag(outcome.image))}",)
    if outcome.keep:
        back = (f"go back at once, without a canary: {_revert(outcome)}",) if outcome.end is End.PROMOTED else ()
        return (*back, f"stop what is still serving: {by_hand(outcome, 'down')}")
    if outcome.end is End.UNCHANGED:
        return (f"ship it all the same, as an A/A test: {again(outcome)} --canary-again",)
    if outcome.seen is not None:
        return (f"its users were synthetic; ship it to real ones: {again(outcome)} --canary-target=NAME",)
    return ()


def by_hand(outcome: Outcome, command: str) -> str:
    """``pytest-canary COMMAND`` for the rollout of ``outcome``, ready to be pasted."""
    words = ["pytest-canary", command, *([outcome.rollout] if outcome.rollout else []), "--target", outcome.target]
    return shlex.join([*words, *_state(outcome)])


def _revert(outcome: Outcome) -> str:
    words = ["pytest-canary", "revert", outcome.service, *([outcome.rollout] if outcome.rollout else [])]
    return shlex.join([*words, "--target", outcome.target, *_state(outcome)])


def again(outcome: Outcome, image: str = "") -> str:
    """The pytest command that ships ``image``, the same one by default."""
    folder = str(PurePath(outcome.rollout).parent) if outcome.rollout else "rollouts/"
    return shlex.join(["pytest", folder, f"--image={image or outcome.image}"])


def _next_tag(image: str) -> str:
    name, slash, last = image.rpartition("/")
    return f"{name}{slash}{last.partition('@')[0].partition(':')[0]}:NEW"


def _state(outcome: Outcome) -> list[str]:
    """A recording lies in STATE/service/target/recordings; a state folder of one's own has to be named again."""
    parents = PurePath(outcome.recording).parents
    if len(parents) < 4 or parents[3].name == STATE:
        return []
    return ["--state", str(parents[3])]
