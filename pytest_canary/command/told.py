"""What a calibration found, as a table for a person."""

from __future__ import annotations

from collections.abc import Iterator

from pytest_canary.calibration import Found, Result
from pytest_canary.play import History

HEADS = ("gate", "false rollbacks", "raised", "now", "regression caught", "noise floor", "smallest ratio")


def lines_of(result: Result, history: History) -> Iterator[str]:
    """A line about the plays, a table with a row per gate, and all gates together."""
    cast = result.cast
    sizes = ", ".join(str(part.canaries) for part in cast.parts)
    minutes = cast.steps * history.step_seconds / 60
    yield f"each play: {sizes} of {cast.replicas} replicas as the canary, stage by stage, {minutes:.0f} min or longer"
    rows = [HEADS, *(_row(one) for one in result.found)]
    rows.append(("all gates", str(result.before), "", str(result.after), "", "", ""))
    wide = [max(len(row[column]) for row in rows) for column in range(len(HEADS))]
    for row in rows:
        yield "  ".join(f"{text:<{width}}" for text, width in zip(row, wide, strict=True)).rstrip()
    for name, why in result.left_out:
        yield f"{name}: not played: {why}"
    for one in result.found:
        yield from _notes(one)


def _row(one: Found) -> tuple[str, ...]:
    noise = one.noise
    return (
        one.gate.name,
        str(one.before.false),
        _raised(one) or "-",
        str(one.after.false) if one.raised else "",
        _caught(one),
        f"{noise.floor:.3g}x" if noise else "?",
        f"{noise.smallest:g}" if noise else "?",
    )


def _raised(one: Found) -> str:
    said = []
    if one.replicas > one.gate.levels.replicas:
        said.append(f"replicas {one.gate.levels.replicas:g} -> {one.replicas:g}")
    if one.phi > one.gate.design_effect:
        said.append(f"phi {one.gate.design_effect:g} -> {one.phi:g}")
    return ", ".join(said)


def _caught(one: Found) -> str:
    now, then = one.after, one.before
    if now.times is None:
        return "?"
    before = f" (before: {then.exposed:,.0f})" if one.raised else ""
    return f"x{now.times:.3g} {100 * now.caught:.0f} % after {now.exposed:,.0f} requests{before}"


def _notes(one: Found) -> Iterator[str]:
    gate, noise = one.gate, one.noise
    if not one.enough:
        yield (
            f"{gate.name}: no level keeps its false rollbacks rare; write a larger `ratio`, give the first stage more "
            "replicas, or `action: alert`"
        )
    if noise is not None and not one.enough and gate.limits.ratio is not None and gate.limits.ratio <= noise.floor:
        yield (
            f"{gate.name}: replicas of the stable build differ by {noise.floor:.3g}x by themselves, and the gate is "
            f"{gate.limits.ratio:g}x; write `ratio: {noise.smallest:g}`"
        )
    if one.refused:
        yield f"{one.refused} plays did not begin: {one.why}"
