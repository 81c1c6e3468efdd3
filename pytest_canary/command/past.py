"""Hours of the stable build for a calibration: from recordings, or from a metric source that remembers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from pytest_canary.command.place import Place
from pytest_canary.command.say import say
from pytest_canary.command.stable import stable_of
from pytest_canary.errors import UsageError
from pytest_canary.plan import Plan
from pytest_canary.play import History, of_samples, together
from pytest_canary.ports import Role, Sample
from pytest_canary.recording import Event, Notice, Poll, read

UNKNOWN_SECONDS = 15.0
"""How often a source is taken to look at its targets where nobody knows."""


@dataclass(frozen=True, slots=True)
class Past:
    """A history, and where it comes from, in words."""

    history: History
    source: str


def from_recordings(files: Sequence[str], plan: Plan) -> Past:
    """What the stable build counted in recordings, in steps of the plan's ``poll``.

    Raises:
        UsageError: one is no recording, or is broken in the middle.

    """
    metrics = [gate.metric for gate in plan.gates]
    found = [of_samples(_stable(Path(file)), metrics, plan.poll_seconds) for file in files]
    steps = {round(one.step_seconds, 3) for one in found if one.steps}
    coarsest = max([plan.poll_seconds, *steps])
    even = [one.coarser(max(round(coarsest / one.step_seconds), 1)) for one in found if one.steps]
    if not even:
        names, record = ", ".join(files), "`pytest-canary record`"
        raise UsageError(f"{names}: found fewer than two polls of the stable build; record it longer, with {record}")
    return Past(together(even), ", ".join(files))


def _stable(path: Path) -> Iterator[Sample]:
    """The stable build's samples; where other builds take its part, or time goes back, they end."""
    builds = 0
    for one in read(path)[1]:
        if isinstance(one, Notice):
            say(f"{path}:{one.line}: {one.text}; what comes after it is left out")
            return
        if isinstance(one, Event):
            builds += one.kind == "builds"
            if builds > 1:  # promotion has started the build anew, and the canary stands in for the baseline
                return
        elif one.poll in (Poll.BASELINE, Poll.LOOK) and Role.BASELINE in one.samples:
            yield one.samples[Role.BASELINE]


def from_source(place: Place, plan: Plan, hours: float) -> Past:
    """What the target's own metric source remembers of the last ``hours``.

    Raises:
        UsageError: it remembers nothing; SourceUnavailable: it does not answer.

    """
    with stable_of(place, "calibrate") as stable:
        past = getattr(stable.source, "past", None)
        if past is None:
            metrics, then = place.spec.metrics, f"{place.command('calibrate')} --from FILE"
            raise UsageError(
                f"{metrics.where}: metrics {metrics.name!r} does not remember what was counted before; type "
                f"`{place.command('record')}` for some hours, then `{then}`"
            )
        stable.sample()  # its own words where there is nothing to ask about
        interval = stable.source.interval_seconds
        step = max(plan.poll_seconds, UNKNOWN_SECONDS if interval is None else interval, 1.0)
        now = stable.clock.wall()
        say(f"asks {place.spec.metrics.name} for the last {hours:g} h, every {step:g} s")
        samples = past(Role.BASELINE, now - 3600 * hours, now, float(round(step)))
        history = of_samples(samples, [gate.metric for gate in plan.gates])
    if not history.steps:
        raise UsageError(f"{place.spec.metrics.name} remembers nothing of the stable build in the last {hours:g} h")
    return Past(history, place.spec.metrics.name)
