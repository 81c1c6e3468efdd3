"""What is caught, as a picture: one small chart per gate, in a file that needs nothing else."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape
from math import log

from pytest_canary.power.summary import Line, by_gate

WIDE, HIGH = 300, 190
LEFT, TOP, RIGHT, BOTTOM = 44, 34, 12, 40
PER_ROW = 3


def picture(lines: Sequence[Line], title: str) -> str:
    """An SVG: how often each size of each gate's regression is stopped, with its interval and the users it meets."""
    groups = list(by_gate(lines).items())
    good = next((line for line in lines if not line.gate), None)
    rows = -(-len(groups) // PER_ROW)
    width, height = PER_ROW * WIDE + 20, rows * HIGH + 70
    said = f"good build rolled back: {100 * good.stopped:.1f} %" if good else ""
    charts = (
        _chart(gate, own, good, 10 + WIDE * (index % PER_ROW), 60 + HIGH * (index // PER_ROW))
        for index, (gate, own) in enumerate(groups)
    )
    return "\n".join([
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif" '
        f'font-size="11" role="img" aria-label="{escape(title)}">',
        f'<rect width="{width}" height="{height}" fill="#fff"/>',
        f'<text x="12" y="24" font-size="15" fill="#222">{escape(title)}</text>',
        f'<text x="12" y="44" fill="#555">stopped share over how many times worse; beside a point the users who met '
        f'it (median). {escape(said)}</text>',
        *charts,
        "</svg>",
        "",
    ])  # fmt: skip


def _chart(gate: str, own: Sequence[Line], good: Line | None, x: float, y: float) -> str:
    first = [good] if good is not None else []
    lines = sorted([*first, *own], key=lambda line: line.size)
    largest = max(max(line.size for line in lines), 1.01)
    inside, tall = WIDE - LEFT - RIGHT, HIGH - TOP - BOTTOM

    def across(size: float) -> float:
        return x + LEFT + inside * log(size) / log(largest)

    def up(share: float) -> float:
        return y + TOP + tall * (1 - share)

    line = " ".join(f"{across(one.size):.1f},{up(one.stopped):.1f}" for one in lines)
    band = [f"{across(one.size):.1f},{up(one.low):.1f}" for one in lines]
    band += [f"{across(one.size):.1f},{up(one.high):.1f}" for one in reversed(lines)]
    return "\n".join([
        f'<text x="{x + LEFT:.0f}" y="{y + 22:.0f}" font-size="13" fill="#222">{escape(gate)}</text>',
        *_axes(x, up),
        f'<polygon points="{" ".join(band)}" fill="#2a6f97" opacity="0.15"/>',
        f'<polyline points="{line}" fill="none" stroke="#2a6f97" stroke-width="2"/>',
        *(_point(one, across(one.size), up(one.stopped), y) for one in lines),
    ])  # fmt: skip


def _axes(x: float, up: object) -> Iterator[str]:
    assert callable(up)
    for share in (0.0, 0.5, 0.9, 1.0):
        at = up(share)
        dash = ' stroke-dasharray="3 3"' if share == 0.9 else ""
        yield f'<line x1="{x + LEFT}" x2="{x + WIDE - RIGHT}" y1="{at:.1f}" y2="{at:.1f}" stroke="#ccc"{dash}/>'
        yield f'<text x="{x + LEFT - 5}" y="{at + 4:.1f}" text-anchor="end" fill="#555">{100 * share:.0f} %</text>'


def _point(line: Line, x: float, y: float, top: float) -> str:
    users = f"<title>{escape(str(line))}: {100 * line.stopped:.1f} % stopped, {line.exposed_median:,.0f} users</title>"
    told = f"{line.exposed_median:,.0f}" if line.gate else ""
    return (
        f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="#2a6f97">{users}</circle>'
        f'<text x="{x:.1f}" y="{top + HIGH - BOTTOM + 14:.0f}" text-anchor="middle" fill="#555">{line.size:g}</text>'
        f'<text x="{x:.1f}" y="{top + HIGH - BOTTOM + 27:.0f}" text-anchor="middle" fill="#999" font-size="9">'
        f"{told}</text>"
    )
