"""What is simulated: a service, what is wrong with the build that is shipped, and what gates look at."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from pytest_canary.errors import UsageError
from pytest_canary.gates import Gate, Kind, Metric
from pytest_canary.simulation.defaults import only, with_needs
from pytest_canary.simulation.injection import Injection
from pytest_canary.simulation.traffic import Traffic


@dataclass(frozen=True, slots=True)
class Scene:
    """Everything that the draws of a batch have in common."""

    traffic: Traffic
    """Of the stable build."""
    injections: tuple[Injection, ...] = ()
    """What is wrong with the build that is shipped, wherever it serves."""
    gates: tuple[Gate, ...] = ()
    """Who looks: buckets are made such that each of them can be judged."""
    besides: frozenset[str] = frozenset()
    """Values, gauges and parts of requests that no gate asks for; what gates see is the same with them and without."""


def scene_of(
    traffic: Traffic, gates: Sequence[Gate], injections: Sequence[Injection] = (), *, everything: bool = False
) -> Scene:
    """The scene in which ``gates`` find what they count, and no more than that unless ``everything`` is asked for."""
    metrics = [gate.metric for gate in gates]
    traffic = with_needs(traffic, [*metrics, *(one.metric for one in injections if one.metric is not None)])
    asked = only(traffic, metrics)
    if not everything:
        return Scene(asked, tuple(injections), tuple(gates))
    besides = {*traffic.values, *traffic.gauges, *traffic.parts} - {*asked.values, *asked.gauges, *asked.parts}
    return Scene(traffic, tuple(injections), tuple(gates), frozenset(besides))


def unseen(injections: Iterable[Injection], gates: Sequence[Gate]) -> tuple[Injection, ...]:
    """The injections that change nothing that any of ``gates`` counts."""
    return tuple(one for one in injections if not any(_sees(gate.metric, one) for gate in gates))


def refuse_unseen(injections: Sequence[Injection], gates: Sequence[Gate]) -> None:
    """See that some gate looks at what is injected.

    Raises:
        UsageError: none does; the text names the gate to add.

    """
    for one in unseen(injections, gates):
        raise UsageError(blind(one, gates))


def blind(injection: Injection, gates: Sequence[Gate]) -> str:
    """What to say of an injection that no gate sees."""
    told = ", ".join(gate.name for gate in gates) or "none"
    name = injection.metric.name if injection.metric is not None else _EXAMPLE[injection.kind]
    limit = "1.2" if injection.metric is None or injection.metric.kind is not Kind.RATE else "1.5"
    return (
        f"--canary-inject {injection.text!r}: no gate can see it (gates: {told}); "
        f"add `{name}: {{ratio: {limit}}}` under `gates`, or inject what a gate counts"
    )


def too_late(injections: Iterable[Injection], stages: Sequence[float], holdback: float) -> Iterator[str]:
    """What to say of injections that show when it is too late to compare, or never; ``stages`` are their shares.

    Raises:
        UsageError: one never shows.

    """
    most = min(max(stages), 1 - holdback)
    compared = [min(share, most) for share in stages if min(share, most) < 1]
    for one in injections:
        if one.share > most + 1e-9:
            raise UsageError(
                f"--canary-inject {one.text!r}: never shows, with `holdback` the build has {100 * most:g}% at most; "
                f"write `from {100 * most:g}%`"
            )
        if one.share > max(compared, default=0.0) + 1e-9:
            mend = f"write `from {100 * max(compared):g}%`, or keep" if compared else "keep"
            yield (
                f"--canary-inject {one.text!r}: shows at 100% only, where there is nothing left to compare with but "
                f"what was before, so that only what is far worse is seen; {mend} some users on the stable build with "
                "`holdback: 5`"
            )


_EXAMPLE = {"crash": "error_rate", "cold": "latency_p99"}


def _sees(metric: Metric, injection: Injection) -> bool:
    if metric.probed:
        return False
    if injection.kind == "crash":
        return "errors" in metric.counted
    if injection.kind == "cold":
        return metric.histogram in ("latency", "ttft", "itl", "queue_time")
    mine = injection.metric
    return mine is not None and bool(_counted(mine) & _counted(metric))


def _counted(metric: Metric) -> set[str]:
    """What tells its value: not the number among which it is counted."""
    return {metric.histogram, metric.gauge, metric.events, *metric.also} - {""}
