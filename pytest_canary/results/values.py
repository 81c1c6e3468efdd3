"""What a result file says, in our units and under our names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from pytest_canary.ports import NOTHING

NOT_MEASURED = "it holds no such number"
FEW = 10
"""A quantile that fewer answers than this lie above, or a rate of fewer events, may well be another one next time."""
FEW_VALUES = 30
"""The same for the values of a mean."""


@dataclass(frozen=True, slots=True)
class Figure:
    """One number, in the unit of its metric (seconds, tokens, 0..1), and of how many values it tells."""

    value: float
    of: int


@dataclass(frozen=True, slots=True)
class Result:
    """What one run of a load tool has measured: ``figures`` by the name of the metric, such as ``ttft_p99``."""

    name: str
    """The file, as rollout.yaml names it."""
    tool: str
    figures: Mapping[str, Figure]
    requests: int
    """Answered requests."""
    failed: int | None = None
    """None where the file does not say."""
    model: str | None = None
    """As the tool was told, which may be the server's name for it or that of its weights."""
    date: str = ""
    load: str = ""
    """How much there was, such as ``10/s`` or ``8 at once``."""
    lacks: Mapping[str, str] = field(default_factory=lambda: NOTHING)
    """Beginning of a metric's name -> why the file does not have it, and what to type to have it."""
    doubts: tuple[str, ...] = ()
    """What a person should know about the run."""

    @property
    def facts(self) -> str:
        """``vllm bench serve, 2026-10-02, 1,000 requests, 10/s, model X``; what the file does not say is left out."""
        model = f"model {self.model}" if self.model else "model not said"
        said = (self.tool, self.date or "undated", f"{self.requests:,} requests", self.load, model)
        return ", ".join(one for one in said if one)

    def __str__(self) -> str:
        return f"{self.name} ({self.facts})"

    def why_not(self, metric: str) -> str:
        """Why there is no figure for ``metric``; of several reasons the most exact one."""
        fitting = [start for start in self.lacks if metric.startswith(start)]
        return self.lacks[max(fitting, key=len)] if fitting else NOT_MEASURED

    def doubt(self, metric: str, quantile: float) -> str:
        """Why the figure of ``metric`` (for a ``quantile`` of it, 0..1) is not to be trusted; empty when it may be."""
        of = self.figures[metric].of
        if quantile:
            above = of * (1 - quantile)
            needed = round(FEW / (1 - quantile))
            slowest = f"the {above:.0f} slowest" if above >= 2 else "the slowest one"
            return f"it rests on {slowest} of {of:,} answers; measure {needed:,}" if above < FEW else ""
        if metric == "error_rate":
            events = self.failed or 0
            return f"it rests on {events} failures among {of:,} requests; measure more" if events < FEW else ""
        return f"it is the mean of {of} values; measure more" if of < FEW_VALUES else ""
