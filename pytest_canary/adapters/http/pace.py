"""When the tokens of a stream came."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(slots=True)
class Pace:
    """Time to the first event with a token, and between one and the next of the same choice; all in seconds."""

    first_seconds: float | None = None
    longest_seconds: float | None = None
    _waited: float = 0.0
    _gaps: int = 0
    _last: dict[int, float] = field(default_factory=dict)
    """Choice -> when its last token came; several choices take turns, and a turn is no gap."""

    def token(self, choice: int, seconds: float) -> None:
        """Take note of a token of ``choice`` that arrived after ``seconds``."""
        if self.first_seconds is None:
            self.first_seconds = seconds
        if choice in self._last:
            gap = seconds - self._last[choice]
            self._waited, self._gaps = self._waited + gap, self._gaps + 1
            self.longest_seconds = max(gap, self.longest_seconds or 0.0)
        self._last[choice] = seconds

    @property
    def mean_seconds(self) -> float | None:
        """The mean gap; None with fewer than two tokens."""
        return self._waited / self._gaps if self._gaps else None
