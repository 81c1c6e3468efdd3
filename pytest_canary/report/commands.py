"""The commands that a report tells a person to type."""

from __future__ import annotations

import shlex
from pathlib import PurePath

from pytest_canary.outcome import End, Outcome

STATE = ".pytest_canary"
"""The folder that is found without being named."""


def next_steps(outcome: Outcome) -> tuple[str, ...]:
    """What to type now, most urgent first; each is one command, with the reason in front of it."""
    if outcome.simulated:
        return _after_simulation(outcome)
    if outcome.end is End.NOT_RESTORED:
        return (
            f"see who holds what: {by_hand(outcome, 'status')}",
            f"put it back (safe to repeat): {by_hand(outcome, 'recover')}",
        )
    down = (f"stop what is still serving: {by_hand(outcome, 'down')}",) if outcome.keep else ()
    if outcome.interrupted and outcome.end in (End.ROLLED_BACK, End.NOT_STARTED):
        return (f"nobody has to act now; to ship it after all: {again(outcome)}", *down)
    if outcome.end is End.ROLLED_BACK:
        mended = again(outcome, image=_next_tag(outcome.image))
        return (f"nobody has to act now; mend the build, then: {mended}", *down)
    if outcome.end is End.NOT_STARTED:
        return (f"no user was met; mend what is named above, then: {again(outcome)}", *down)
    if down:
        back = (
            (f"go back at once, without a canary: {by_hand(outcome, 'revert')}",) if outcome.end is End.PROMOTED else ()
        )
        return (*back, *down)
    if outcome.end is End.UNCHANGED:
        return (f"ship it all the same, as an A/A test: {again(outcome)}",)
    if outcome.seen is not None:
        real = shlex.join(["pytest", _folder(outcome), f"--image={outcome.image}", "--canary-target=NAME"])
        return (f"its users were synthetic; ship it to real ones: {real}",)
    return ()


def _after_simulation(outcome: Outcome) -> tuple[str, ...]:
    """No build is there to be mended, no user to be told: what is left to do is about the gates."""
    if outcome.end in (End.PROMOTED, End.UNCHANGED):
        ship = f"ship a build to it: {again(outcome, image=_next_tag(outcome.image))}"
        if outcome.how_often and outcome.end is End.PROMOTED:
            command, *words = outcome.how_often
            asked = " ".join([by_hand(outcome, command), shlex.join(words)]).strip()
            return (f"one seed let it pass; learn how often it is caught: {asked}", ship)
        return (ship,)
    if outcome.interrupted:
        return ()
    if outcome.end is End.ROLLED_BACK and outcome.failed and not outcome.how_often:
        return (f"a build like the stable one was rolled back; learn how often: {by_hand(outcome, 'power')}",)
    caught = outcome.end is End.ROLLED_BACK and outcome.how_often
    said = "such a build is stopped; see" if caught else "mend what is named above, then see"
    words = ["pytest", _folder(outcome), "--canary-simulate", f"--canary-target={outcome.target}"]
    good = shlex.join([*words, *_options(outcome, "--canary-state", "--canary-set")])
    return (f"{said} that a good one passes: {good}",)


def by_hand(outcome: Outcome, command: str) -> str:
    """``pytest-canary COMMAND`` for the rollout of ``outcome``, ready to be pasted."""
    path = [str(PurePath(_folder(outcome)) / "rollout.yaml")] if outcome.rollout else []
    service = [outcome.service] if command == "revert" else []
    words = ["pytest-canary", command, *service, *path, "--target", outcome.target]
    return shlex.join([*words, *_options(outcome, "--state", "--set")])


def again(outcome: Outcome, image: str = "") -> str:
    """The pytest command that ships ``image``, the same one by default, as it was shipped."""
    words = ["pytest", _folder(outcome), f"--image={image or outcome.image}", f"--canary-target={outcome.target}"]
    same = not image and outcome.canary and outcome.stable and outcome.canary.pin == outcome.stable.pin
    return shlex.join([*words, *_options(outcome, "--canary-state", "--canary-set"), *["--canary-again"] * bool(same)])


def _folder(outcome: Outcome) -> str:
    if outcome.folder or not outcome.rollout:
        return outcome.folder or "rollouts/"
    return str(PurePath(outcome.rollout).parent)


def _options(outcome: Outcome, state: str, override: str) -> list[str]:
    """What was typed besides, under the names that these options have there."""
    return [*_state(outcome, state), *(word for each in outcome.overrides for word in (override, each))]


def _next_tag(image: str) -> str:
    name, slash, last = image.rpartition("/")
    return f"{name}{slash}{last.partition('@')[0].partition(':')[0]}:NEW"


def _state(outcome: Outcome, option: str) -> list[str]:
    """A recording lies in STATE/service/target/recordings; a state folder of one's own has to be named again."""
    parents = PurePath(outcome.recording).parents
    if len(parents) < 4 or parents[3].name == STATE:
        return []
    return [option, str(parents[3])]
