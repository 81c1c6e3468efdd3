"""What is caught, as a picture: one small chart per gate, in a file that needs nothing else."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape

from pytest_canary.power.summary import Line, by_gate

APART = 37
"""Between two sizes: what is written under a point has room."""
INSIDE, TALL = 8 * APART, 120
LEFT, TOP, RIGHT, BOTTOM = 50, 34, 18, 44
HEAD, LEAST = 100, 640
"""Above the charts, and how wide the words there are."""
PER_ROW = 3
LETTERS, LARGER = 0.13, 0.112
"""Of a gate's name and of the title, per unit of width."""
_STYLE = """<style>
.power { --paper: #fff; --ink: #222; --soft: #555; --rule: #ccc; --line: #2a6f97 }
@media (prefers-color-scheme: dark) {
  .power { --paper: #16191d; --ink: #e8e8e8; --soft: #aab2ba; --rule: #454c54; --line: #6cb6dd } }
.power text { fill: var(--soft) } .power .name { fill: var(--ink) } .power .paper { fill: var(--paper) }
.power .rule { stroke: var(--rule) } .power .curve { stroke: var(--line); fill: none; stroke-width: 2 }
.power .band { fill: var(--line); opacity: 0.18 } .power circle { fill: var(--line) }
</style>"""


def page(lines: Sequence[Line], title: str) -> str:
    """The picture as a page of HTML."""
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><meta name="color-scheme" content="light dark">'
        f'<meta name="viewport" content="width=device-width"><title>{escape(title)}</title></head>\n<body>\n'
        f"{picture(lines, title)}</body></html>\n"
    )


def picture(lines: Sequence[Line], title: str) -> str:
    """An SVG: how often each size of each gate's regression is stopped, with its interval and the users it meets."""
    groups = list(by_gate(lines).items())
    good = next((line for line in lines if not line.gate), None)
    most = max((len(own) for _, own in groups), default=1)
    across = max(INSIDE, (most + 1) * APART)
    wide, high = LEFT + across + RIGHT, TOP + TALL + BOTTOM
    width = max(min(PER_ROW, len(groups)) * wide + 10, LEAST)
    height = HEAD + -(-len(groups) // PER_ROW) * high + 6
    charts = (
        _chart(gate, own, good, 5 + wide * (index % PER_ROW), HEAD + high * (index // PER_ROW), across)
        for index, (gate, own) in enumerate(groups)
    )
    words = [
        "Share of the rollouts that are stopped, with its 95 % interval; dashed: nine in ten.",
        "Below: how many times worse the build is, and how many users meet it (median).",
        f"A good build is rolled back in {100 * good.stopped:.1f} %." if good else "",
    ]
    return "\n".join([
        f'<svg xmlns="http://www.w3.org/2000/svg" class="power" viewBox="0 0 {width} {height}" width="{width}" '
        f'height="{height}" style="max-width:100%;height:auto" font-family="sans-serif" font-size="11" role="img" '
        f'aria-label="{escape(title)}">',
        _STYLE,
        f'<rect class="paper" width="{width}" height="{height}"/>',
        f'<text class="name" x="12" y="26" font-size="15">{escape(_cut(title, width * LARGER))}</text>',
        *(f'<text x="12" y="{48 + 18 * row}">{text}</text>' for row, text in enumerate(words)),
        *charts,
        "</svg>",
        "",
    ])  # fmt: skip


def _cut(text: str, letters: float) -> str:
    return text if len(text) <= letters else f"{text[: int(letters) - 1]}…"


def _chart(gate: str, own: Sequence[Line], good: Line | None, x: float, y: float, wide: float) -> str:
    """Sizes stand evenly: the small ones, which matter most, would lie on each other on any scale."""
    first = [good] if good is not None else []
    lines = [*first, *sorted(own, key=lambda line: line.size)]
    step = wide / len(lines)
    at = [x + LEFT + step * (index + 0.5) for index in range(len(lines))]

    def up(share: float) -> float:
        return y + TOP + TALL * (1 - share)

    curve = " ".join(f"{place:.1f},{up(one.stopped):.1f}" for place, one in zip(at, lines, strict=True))
    band = [f"{place:.1f},{up(one.low):.1f}" for place, one in zip(at, lines, strict=True)]
    band += [f"{place:.1f},{up(one.high):.1f}" for place, one in reversed(list(zip(at, lines, strict=True)))]
    name = escape(_cut(gate, wide * LETTERS))
    return "\n".join([
        f'<text class="name" x="{x + LEFT:.0f}" y="{y + 22:.0f}" font-size="13">{name}</text>',
        *_axes(x, wide, [(share, up(share)) for share in (0.0, 0.5, 0.9, 1.0)]),
        f'<text x="{x + LEFT - 5:.0f}" y="{up(0) + 29:.0f}" text-anchor="end" font-size="10">users</text>',
        f'<polygon class="band" points="{" ".join(band)}"/>',
        f'<polyline class="curve" points="{curve}"/>',
        *(_point(one, place, up(one.stopped), up(0)) for place, one in zip(at, lines, strict=True)),
    ])  # fmt: skip


def _axes(x: float, wide: float, shares: Sequence[tuple[float, float]]) -> Iterator[str]:
    for share, at in shares:
        dash = ' stroke-dasharray="3 3"' if share == 0.9 else ""
        yield f'<line class="rule" x1="{x + LEFT}" x2="{x + LEFT + wide:.0f}" y1="{at:.1f}" y2="{at:.1f}"{dash}/>'
        yield f'<text x="{x + LEFT - 5}" y="{at + 4:.1f}" text-anchor="end">{100 * share:.0f} %</text>'


def _point(line: Line, x: float, y: float, bottom: float) -> str:
    users = f"<title>{escape(str(line))}: {100 * line.stopped:.1f} % stopped, {line.exposed_median:,.0f} users</title>"
    size, told = (f"x{line.size:g}", _short(line.exposed_median)) if line.gate else ("good", "")
    return (
        f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3">{users}</circle>'
        f'<text x="{x:.1f}" y="{bottom + 15:.0f}" text-anchor="middle">{size}</text>'
        f'<text x="{x:.1f}" y="{bottom + 29:.0f}" text-anchor="middle" font-size="10">{told}</text>'
    )


def _short(number: float) -> str:
    """As it fits under a point."""
    for unit, name in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if number >= 10 * unit or (number >= unit and unit > 1e3):
            return f"{number / unit:.3g}{name}"
    return f"{number:,.0f}"
