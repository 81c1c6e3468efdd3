"""The lines of a power run as text."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pytest_canary.power.summary import Line, by_gate, smallest_caught

BAR = 20


def table(lines: Sequence[Line]) -> Iterator[str]:
    """A block for the good build, then one row per regression, and what is caught nine times in ten."""
    good = next((line for line in lines if not line.gate), None)
    if good is not None:
        yield from _good(good)
        yield ""
    groups = by_gate(lines)
    if not groups:
        return
    yield (
        f"{'regression':<32} {'stopped':>8}  {'':{BAR}}  {'stage':>5} {'users, median':>14} {'p90':>8} "
        f"{'minutes':>8} {'p90':>6}"
    )
    for own in groups.values():
        for line in own:
            yield _row(line)
    yield ""
    for gate, own in groups.items():
        yield _smallest(gate, own)


def _good(line: Line) -> Iterator[str]:
    yield f"a good build is rolled back in {_percent(line.stopped)} of {line.started} rollouts ({_span(line)})"
    for who, share in line.blamed:
        yield f"  by {who}: {_percent(share)}"
    if line.minutes_median is not None:
        yield (
            f"  promoted after {_minutes(line.minutes_median)} min (median; nine in ten within "
            f"{_minutes(line.minutes_p90)} min)"
        )
    for why, many in line.refused:
        yield f"  not started, {many} of {line.rollouts}: {why}"


def _row(line: Line) -> str:
    bar = "#" * round(BAR * line.stopped)
    return (
        f"{line!s:<32} {_percent(line.stopped):>8}  {bar:<{BAR}}  {line.stage:>5} {line.exposed_median:>14,.0f} "
        f"{line.exposed_p90:>8,.0f} {_minutes(line.minutes_median):>8} {_minutes(line.minutes_p90):>6}"
    )


def _smallest(gate: str, own: Sequence[Line]) -> str:
    found = smallest_caught(own)
    if found is None:
        return f"{gate}: no size that was played is stopped nine times in ten"
    return (
        f"{gate}: x{found.size:g} and worse is stopped nine times in ten; at x{found.size:g} "
        f"{found.exposed_median:,.0f} users meet it (median)"
    )


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def _span(line: Line) -> str:
    return f"95 % interval {100 * line.low:.2f} to {100 * line.high:.2f} %"


def _minutes(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f}"
