"""Ask both builds directly from the baseline on, and find out whether the metric source takes that for users."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace

from pytest_canary.errors import BaselineFailed, NoData
from pytest_canary.plan import Plan
from pytest_canary.ports import PROBED, PROBES_TOO, Fault, Probes, Revision, Role, Sample, World
from pytest_canary.steps.baseline import Baseline

SOME = 0.25
"""Of the probes; a source may tell of them late, and may count a health check where there was no probe."""
FEW = 4
"""Users to one probe; with more probes than users the gates would be about probes."""


def begin_probes(world: World, plan: Plan, builds: Mapping[Role, Revision]) -> None:
    """Ask ``builds`` from now on, where the plan has probes."""
    if world.probes is not None and plan.probing is not None:
        addresses = {role: world.platform.address(build) for role, build in builds.items()}
        world.probes.begin(addresses, plan.probing.prompts)


def end_probes(world: World) -> None:
    """Ask nobody any more."""
    if world.probes is not None:
        world.probes.end()


def unmet(world: World) -> Sample | None:
    """What the canary has counted, which no user has met yet; None without probes, or where nobody can tell."""
    if world.probes is None:
        return None
    with suppress(NoData, KeyError):
        return world.source.poll([Role.CANARY])[Role.CANARY]
    return None


def without_probes(world: World, plan: Plan, captured: Baseline, before: Sample | None) -> tuple[Baseline, str]:
    """The baseline of users alone, and what a person should know about the probes in it; ``before`` is the canary's.

    No user is sent to the canary yet, so whatever it counted in the window was a probe.

    Raises:
        BaselineFailed: too few probes were answered, or the source would count more of them than users of the canary.

    """
    if world.probes is None or plan.probing is None:
        return captured, ""
    _must_have_been_answered(world.probes, plan, captured)
    rate, first = plan.probing.rate, plan.stages[0]
    taken, probes = _taken_for_users(unmet(world), before)
    if not probes or taken < SOME * probes:
        users = captured.rate * first.weight
        return captured, f"probes: {rate:g}/s to each build, beside {users:.3g}/s of users at {first}"
    world.probes.counted_too()
    captured = _of_users(captured)
    users = captured.rate * first.weight
    found = f"the metrics count probes as requests of users ({taken:.0f} of {probes:.0f} before the canary met any)"
    if rate > users:
        raise BaselineFailed(
            f"{found}, and at stage {first} that would be {rate:g}/s of them beside {users:.3g}/s of users, so gates "
            "would be about probes; leave out requests with the header x-canary-probe there, or lower `probe.rate` to "
            f"{users / FEW:.2g}"
        )
    return captured, (
        f"{found}: at {first} they are about {rate / (rate + users):.0%} of what is counted at the canary; the split "
        "and min_requests are told without them, the other gates cannot be"
    )


def _must_have_been_answered(probes: Probes, plan: Plan, captured: Baseline) -> None:
    """What is normal is learnt from the window; a build that hangs keeps the other from being asked, too."""
    least = max((gate.least for gate in plan.gates if gate.metric.probed), default=0)
    ended = captured.counted.counters.get(f"{PROBED}requests", 0.0)
    faults = sum(captured.counted.counters.get(f"{PROBED}{fault.name.lower()}", 0.0) for fault in Fault)
    if least and ended >= least and faults > ended / 2:
        first = probes.seen()[Role.BASELINE].first_fault
        raise BaselineFailed(
            f"{faults:.0f} of {ended:.0f} probes of the baseline had a fault (first: {first}), so nobody knows what a "
            "good answer is; mend `probe.prompts`, or the key in `probe: {http: {headers: ...}}`, or drop these gates"
        )
    if ended < least:
        seen = probes.seen()
        slow = max(seen, key=lambda role: seen[role].skipped)
        said = f"{ended:.0f} probes of the baseline were answered in {captured.seconds:.0f} s, and a gate needs {least}"
        if not seen[slow].skipped:
            raise BaselineFailed(f"{said}; raise `probe.rate` or `baseline.window`")
        fault = f" (first fault: {seen[slow].first_fault})" if seen[slow].first_fault else ""
        raise BaselineFailed(
            f"{said}; {seen[slow].skipped} were not sent, because the {slow} still had all it may have in flight{fault}"
            f"; raise `probe.concurrency`, or mend the {slow}"
        )


def _taken_for_users(now: Sample | None, before: Sample | None) -> tuple[float, float]:
    """Requests that the canary counted in the window, and the probes that it was sent."""
    since = now.since(before) if now is not None and before is not None else None
    counters = since.counters if since is not None else {}
    return counters.get("requests", 0.0), counters.get(f"{PROBED}requests", 0.0)


def _of_users(captured: Baseline) -> Baseline:
    counters = captured.counted.counters
    too = {**counters, PROBES_TOO: counters.get(f"{PROBED}requests", 0.0)}
    return replace(captured, counted=replace(captured.counted, counters=too))
