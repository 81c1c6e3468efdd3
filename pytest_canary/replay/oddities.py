"""What is out of the ordinary in a recording, and what a replay makes of it, in words."""

from __future__ import annotations

from collections.abc import Mapping

from pytest_canary.ports import Role, Sample
from pytest_canary.recording import Notice, Poll, Recorded

GAP_SECONDS = 60.0
GAP_TIMES = 20.0
"""A gap is at least so long, and so many times the longest time between two polls until then."""


class Oddities:
    """Kept up poll by poll, in a few numbers."""

    def __init__(self) -> None:
        self._last: dict[Role, Sample] = {}
        self._at: float | None = None
        self._usual = 0.0
        self._gaps: list[tuple[float, int]] = []
        self._anew: dict[Role, list[int]] = {}
        self._gone: dict[str, int] = {}
        self._back: dict[str, int] = {}
        self._twice = self._twice_at = 0
        self._ended: Notice | None = None

    def see(self, line: Recorded) -> None:
        """Compare a poll with the one before."""
        if line.twice:
            self._twice, self._twice_at = self._twice + line.twice, self._twice_at or line.line
        if line.poll in (Poll.BASELINE, Poll.LOOK):
            self._time(line)
        for role, sample in line.samples.items():
            before = self._last.get(role)
            self._last[role] = sample
            if before is not None and before is not sample:
                if _went_back(before.counters, sample.counters):
                    self._anew.setdefault(role, []).append(line.line)
                if before.replicas or sample.replicas:
                    self._replicas(role, before.replicas, sample.replicas, line.line)

    def stop(self, notice: Notice) -> None:
        """Reading has ended early."""
        self._ended = notice

    def told(self) -> list[str]:
        """One sentence for each kind of thing."""
        said = list[str]()
        for role, lines in self._anew.items():
            times = "once" if len(lines) == 1 else f"{len(lines)} times"
            said.append(f"counters of the {role} began anew {times} (line {lines[0]}): such a poll counts for nobody")
        if self._gone:
            name, line = next(iter(self._gone.items()))
            more = f" and {len(self._gone) - 1} more" if len(self._gone) > 1 else ""
            back = f", {len(self._back)} came back" if self._back else ""
            said.append(f"replica {name}{more} went (line {line}){back}: each counts while it is there")
        if self._gaps:
            longest, line = max(self._gaps)
            times = f"{len(self._gaps)} gaps, the longest of" if len(self._gaps) > 1 else "a gap of"
            said.append(f"{times} {_minutes(longest)} (up to line {line}): what was counted then is one poll")
        if self._twice:
            copies = "a line stands" if self._twice == 1 else f"{self._twice} lines stand"
            said.append(f"{copies} twice (up to line {self._twice_at}), and counted once")
        if self._ended:
            said.append(f"replayed up to line {self._ended.line}: {self._ended.text}")
        return said

    def _time(self, line: Recorded) -> None:
        if self._at is not None:
            passed = line.at - self._at
            if self._usual and passed > max(GAP_SECONDS, GAP_TIMES * self._usual):
                self._gaps.append((passed, line.line))
            else:
                self._usual = max(self._usual, passed)
        self._at = line.at

    def _replicas(self, role: Role, before: Mapping[str, Sample], now: Mapping[str, Sample], line: int) -> None:
        if before.keys() == now.keys():
            return
        for name in before.keys() - now.keys():
            self._gone.setdefault(f"{name} of the {role}", line)
        for name in now.keys() - before.keys():
            if f"{name} of the {role}" in self._gone:
                self._back.setdefault(f"{name} of the {role}", line)


def _went_back(before: Mapping[str, float], now: Mapping[str, float]) -> bool:
    return before is not now and any(value < before.get(name, value) for name, value in now.items())


def _minutes(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
