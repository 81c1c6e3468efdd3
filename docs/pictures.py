"""Draws the pictures of "How it decides" from the rules themselves: ``python docs/pictures.py [FOLDER]``."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from math import erf, log, log10, sqrt
from pathlib import Path

import numpy as np

from pytest_canary.gates.evidence import RateEvidence
from pytest_canary.gates.values import Bursts, Levels
from pytest_canary.stats.ratio import Counts

WIDTH, HEIGHT = 720, 400
LEFT, RIGHT, TOP, BOTTOM = 74, 24, 54, 56
INK, FAINT, GOOD, WARN, BAD = "#333a44", "#9aa4b1", "#2b7bba", "#d08a1d", "#c0392b"
POLLS = 60
MARK = 111.0
"""Evidence that convicts ``error_rate``."""


@dataclass
class Plot:
    """A frame with axes; points are given in the units of the axes."""

    title: str
    x: tuple[float, float]
    y: tuple[float, float]
    log_x: bool = False
    log_y: bool = False
    width: float = WIDTH
    left: float = 0.0
    parts: list[str] = field(default_factory=list)

    def at(self, x: float, y: float) -> tuple[float, float]:
        """Where a point lies, in pixels."""
        across = _share(x, self.x, self.log_x) * (self.width - LEFT - RIGHT)
        up = _share(y, self.y, self.log_y) * (HEIGHT - TOP - BOTTOM)
        return self.left + LEFT + across, HEIGHT - BOTTOM - up

    def line(self, points: Sequence[tuple[float, float]], colour: str, width: float = 1.6, dash: str = "") -> None:
        """A line through points."""
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in (self.at(*point) for point in points))
        dashed = f' stroke-dasharray="{dash}"' if dash else ""
        self.parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="{width}"{dashed}/>')

    def dot(self, x: float, y: float, colour: str, radius: float = 4.5) -> None:
        """A dot."""
        cx, cy = self.at(x, y)
        self.parts.append(f'<circle cx="{cx:.1f}" cy="{cy:.1f}" r="{radius}" fill="{colour}" fill-opacity="0.85"/>')

    def box(self, x: tuple[float, float], y: tuple[float, float], colour: str, opacity: float) -> None:
        """A filled area."""
        (x0, y1), (x1, y0) = self.at(x[0], y[0]), self.at(x[1], y[1])
        size = f'width="{x1 - x0:.1f}" height="{y1 - y0:.1f}"'
        self.parts.append(f'<rect x="{x0:.1f}" y="{y0:.1f}" {size} fill="{colour}" fill-opacity="{opacity}"/>')

    def text(self, x: float, y: float, words: str, colour: str = INK, anchor: str = "start", dy: float = 0.0) -> None:
        """Words at a point."""
        px, py = self.at(x, y)
        self.parts.append(_text(px, py + dy, words, colour, anchor))

    def axes(self, x_ticks: Sequence[float], y_ticks: Sequence[float], x_label: str, y_label: str) -> None:
        """Ticks with their numbers, and what they count."""
        for tick in x_ticks:
            px, py = self.at(tick, self.y[0])
            self.parts.append(_rule(px, py, px, py + 5))
            self.parts.append(_text(px, py + 20, _number(tick), INK, "middle"))
        for tick in y_ticks:
            px, py = self.at(self.x[0], tick)
            self.parts.append(_rule(px, py, self.left + self.width - RIGHT, py, FAINT, 0.35))
            self.parts.append(_text(px - 8, py + 4, _number(tick), INK, "end"))
        middle = self.left + (LEFT + self.width - RIGHT) / 2
        self.parts.append(_text(middle, HEIGHT - 14, x_label, INK, "middle"))
        self.parts.append(_text(self.left + 14, TOP - 12, y_label, INK))
        self.parts.append(_text(self.left + 14, 24, self.title, INK, weight="600"))


def _share(value: float, ends: tuple[float, float], logarithmic: bool) -> float:
    low, high = ends
    value = min(max(value, low), high)
    return log(value / low) / log(high / low) if logarithmic else (value - low) / (high - low)


def _number(value: float) -> str:
    if value >= 1e4:
        return f"1e{log10(value):.0f}"
    return f"{value:,.0f}" if value >= 1 or value == 0 else f"{value:g}"


def _rule(x0: float, y0: float, x1: float, y1: float, colour: str = INK, width: float = 1.0) -> str:
    ends = f'x1="{x0:.1f}" y1="{y0:.1f}" x2="{x1:.1f}" y2="{y1:.1f}"'
    return f'<line {ends} stroke="{colour}" stroke-width="{width}"/>'


def _text(x: float, y: float, words: str, colour: str, anchor: str = "start", weight: str = "400") -> str:
    words = words.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    style = f'fill="{colour}" text-anchor="{anchor}" font-weight="{weight}"'
    return f'<text x="{x:.1f}" y="{y:.1f}" {style}>{words}</text>'


def _svg(*plots: Plot) -> str:
    parts = "\n".join(part for plot in plots for part in plot.parts)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}" '
        f'font-family="Helvetica, Arial, sans-serif" font-size="13">\n'
        f'<rect width="{WIDTH}" height="{HEIGHT}" rx="10" fill="#ffffff"/>\n{parts}\n</svg>\n'
    )


@dataclass(frozen=True)
class Trail:
    """One rollout, poll by poll: requests of the canary so far, evidence, errors of the poll; odds at the end."""

    requests: tuple[float, ...]
    evidence: tuple[float, ...]
    errors: tuple[float, ...]
    odds: float
    convicted: bool


def rollout(
    times: float, seed: int, clump: int = 1, bursts: Bursts = Bursts.AUTO, traffic: int = 1, to_the_end: bool = False
) -> Trail:
    """A stage of 5 % at 100 requests/s (``traffic`` times that) with 1 % errors, after ten minutes of baseline.

    Stops where the build is convicted, unless it is to be seen to the end.
    """
    rng, rule = np.random.default_rng(seed), RateEvidence(0.01, 3, levels=replace(Levels(), bursts=bursts))

    def failed(number: int, rate: float) -> int:
        if clump == 1:
            return int(rng.binomial(number, rate))
        clumps = int(rng.poisson(number * rate / clump))
        return min(clumps + (int(rng.negative_binomial(clumps, 1 / clump)) if clumps else 0), number)

    for _ in range(120):
        number = int(rng.poisson(500 * traffic))
        rule.normal(number, failed(number, 0.01))
    rule.start_stage(1.5, 300.0)
    served, trail, errors, convicted = [0.0], [1.0], [0.0], False
    for poll in range(POLLS):
        nc, nb = int(rng.poisson(25 * traffic)), int(rng.poisson(475 * traffic))
        ec = failed(nc, 0.01 * times)
        rule.compare(Counts(nc, ec, nb, failed(nb, 0.01)), at=5.0 * poll)
        served.append(served[-1] + nc)
        trail.append(float(np.exp(min(rule.worse.log_e[0], 60.0))))
        errors.append(ec)
        convicted = bool(rule.convicts(rule.posterior.odds(1.5))[0])
        if convicted and not to_the_end:
            break
    odds = float(rule.posterior.odds(1.5)[0])
    return Trail(tuple(served), tuple(trail), tuple(errors), odds, convicted)


def evidence() -> str:
    """Twelve good builds and five bad ones."""
    plot = Plot("Twelve good builds, five with three times the errors", (0, 1500), (0.1, 1e4), log_y=True)
    plot.axes((0, 500, 1000, 1500), (0.1, 1, 10, 100, 1000, 1e4), "canary requests", "evidence of “worse at all”")
    plot.line([(0, MARK), (1500, MARK)], INK, 1.2, "6 4")
    plot.text(1490, MARK, "convicts at 111", INK, "end", -7)
    for seed in range(12):
        trail = rollout(1.0, seed)
        plot.line(list(zip(trail.requests, trail.evidence, strict=True)), GOOD, 1.1)
    for seed in range(5):
        trail = rollout(3.0, 100 + seed)
        plot.line(list(zip(trail.requests, trail.evidence, strict=True)), BAD, 1.8)
        plot.dot(trail.requests[-1], trail.evidence[-1], BAD)
    plot.text(1490, 0.16, "the same errors as the baseline", GOOD, "end")
    plot.text(700, 3000, "a dot: rolled back", BAD)
    return _svg(plot)


def two_questions() -> str:
    """Where builds of four kinds end after one stage."""
    plot = Plot("Only builds with much evidence and high odds fail", (0.01, 1e8), (0, 100), log_x=True)
    plot.box((MARK, 1e8), (75, 100), BAD, 0.12)
    ticks = (0.01, 1, 100, 1e4, 1e6, 1e8)
    plot.axes(ticks, (0, 25, 50, 75, 100), "evidence of “worse at all”", "odds of “worse than 1.5 times”, %")
    plot.text(9e7, 78, "fails", BAD, "end")
    plot.text(9e7, 8, "surely worse, and within the gate: passes", INK, "end")
    kinds = ((1.0, GOOD, "same errors"), (1.3, FAINT, "1.3 times"), (1.5, WARN, "1.5 times"), (2.0, BAD, "2 times"))
    for index, (times, colour, words) in enumerate(kinds):
        for seed in range(30):
            trail = rollout(times, 1000 * index + seed, traffic=4, to_the_end=True)
            plot.dot(trail.evidence[-1], 100 * trail.odds, colour, 3.6)
        plot.dot(0.02, 90 - 9 * index, colour)
        plot.text(0.035, 90 - 9 * index, words, INK, dy=4)
    return _svg(plot)


def bursts() -> str:
    """A good build whose errors come in clumps, with and without the guard."""
    seed = next(seed for seed in range(200) if _saved(seed))
    bare, guarded = (rollout(1.0, seed, clump=10, bursts=bursts) for bursts in (Bursts.IGNORE, Bursts.AUTO))
    left = Plot("A good build: errors come in clumps", (0, 300), (0, 25), width=WIDTH / 2)
    left.axes((0, 100, 200, 300), (0, 5, 10, 15, 20, 25), "seconds", "errors of the canary per poll")
    for poll, count in enumerate(guarded.errors):
        if count:
            left.line([(5.0 * poll, 0), (5.0 * poll, count)], GOOD, 4)
    right = Plot("and what it is worth", (0, 300), (0.01, 1e6), log_y=True, width=WIDTH / 2, left=WIDTH / 2)
    right.axes((0, 100, 200, 300), (0.01, 1, 100, 1e4, 1e6), "seconds", "evidence")
    right.line([(0, MARK), (300, MARK)], INK, 1.2, "6 4")
    for trail, colour in ((bare, BAD), (guarded, GOOD)):
        right.line([(5.0 * poll, value) for poll, value in enumerate(trail.evidence)], colour, 1.8)
    right.dot(5.0 * (len(bare.evidence) - 1), bare.evidence[-1], BAD)
    right.text(292, 2.5e4, "without the guard", BAD, "end")
    right.text(292, 0.02, "with the guard", GOOD, "end")
    return _svg(left, right)


def _saved(seed: int) -> bool:
    """Whether the guard alone keeps this build, after most of the stage."""
    bare, guarded = (rollout(1.0, seed, clump=10, bursts=bursts) for bursts in (Bursts.IGNORE, Bursts.AUTO))
    return bare.convicted and not guarded.convicted and 10 <= len(bare.evidence) <= 45 and max(bare.errors) <= 25


def latency() -> str:
    """Two builds in buckets, with the boundaries that are looked at."""
    bounds = [50 * 1.2 ** (index / 2) for index in range(60)]
    low, high = 1000.0, 1200.0

    def share(edge: float, times: float) -> float:
        return 0.5 * (1 + erf(log(edge / (250 * times)) / (0.6 * sqrt(2))))

    plot = Plot("Requests are counted beyond two bucket boundaries", (50, 3000), (0, 7), log_x=True)
    plot.axes((50, 100, 200, 500, 1000, 3000), (0, 2, 4, 6), "latency, ms", "% of requests per bucket")
    for times, colour in ((1.0, GOOD), (1.5, BAD)):
        pairs = pairwise(bounds)
        steps = [(a, b, 100 * (share(b, times) - share(a, times))) for a, b in pairs if b <= 3000]
        plot.line([point for a, b, value in steps for point in ((a, value), (b, value))], colour, 1.8)
    for edge, words in ((low, "baseline p99"), (high, "limit, 1.2 times")):
        plot.line([(edge, 0), (edge, 6.2)], INK, 1.2, "6 4")
        plot.text(edge, 6.2, words, INK, "end" if edge == low else "start", -6)
    plot.text(52, 6.2, "the canary is 1.5 times as slow:", BAD, dy=-6)
    plot.text(52, 5.6, f"{100 * (1 - share(high, 1.5)):.1f} % beyond the limit", BAD)
    plot.text(52, 5.1, f"{100 * (1 - share(low, 1)):.1f} % of the baseline", GOOD)
    plot.text(52, 4.7, "beyond its p99", GOOD)
    return _svg(plot)


PICTURES: dict[str, Callable[[], str]] = {
    "evidence": evidence,
    "two-questions": two_questions,
    "bursts": bursts,
    "latency": latency,
}


def draw(folder: Path) -> None:
    """Write every picture into ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, picture in PICTURES.items():
        (folder / f"{name}.svg").write_text(picture(), encoding="utf-8")


if __name__ == "__main__":
    draw(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent / "pictures")
