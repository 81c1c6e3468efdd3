"""The probes of one target, from round to round, and what they have counted in all of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from threading import RLock

from pytest_canary.ports import NOTHING, PROBED, PROBES_TOO, Answer, Clock, Probe, Probed, Prompt, Role, Sample
from pytest_canary.prices import Prices, cost_of
from pytest_canary.probing.rounds import Alongside, AtPolls, Round, Work
from pytest_canary.probing.tally import Tally


@dataclass(frozen=True, slots=True)
class Pace:
    """How often every build is asked, in probes per second, and how many of these it may have in flight."""

    rate: float
    concurrency: int


class PacedProbes:
    """:class:`~pytest_canary.ports.Probes`: in threads of their own on a real clock, at polls on a virtual one."""

    def __init__(self, probe: Probe, clock: Clock, pace: Pace, prices: Prices | None = None) -> None:
        self._probe, self._clock, self._pace, self._prices = probe, clock, pace, prices
        self._tallies: dict[Role, Tally] = {}
        self._round: Round | None = None
        self._too = False
        self._lock = RLock()

    def begin(self, addresses: Mapping[Role, str], prompts: Sequence[Prompt]) -> None:
        with self._lock:
            self.end()
            for role in addresses:
                self._tallies.setdefault(role, Tally(priced=self._prices is not None))
            pace = self._pace
            work = Work(
                self._probe, dict(addresses), tuple(prompts), self._tallies, pace.rate, pace.concurrency, self._cost
            )
            self._round = AtPolls(work, self._clock) if self._clock.virtual else Alongside(work, self._clock)

    def end(self) -> None:
        # No lock: a signal handler or the watcher may end a round while another thread asks in it.
        if self._round is not None:
            self._round.end()

    def counted_too(self) -> None:
        self._too = True

    def seen(self) -> Mapping[Role, Probed]:
        return {role: tally.seen() for role, tally in self._tallies.items()}

    def added(self, role: Role, sample: Sample) -> Sample:
        """``sample`` with what the probes of ``role`` have counted until now; as it is before there were any."""
        tally = self._tallies.get(role)
        if tally is None:
            return sample
        counters, histograms = tally.told()
        too = {PROBES_TOO: counters[f"{PROBED}requests"]} if self._too else NOTHING
        return Sample(
            sample.at,
            {**sample.counters, **counters, **too},
            {**sample.histograms, **histograms},
            sample.replicas,
            sample.gauges,
            sample.strata,
        )

    def catch_up(self) -> None:
        """Ask what has become due, where time is virtual."""
        with self._lock:
            if self._round is not None:
                self._round.catch_up()

    def _cost(self, role: Role, answer: Answer) -> float | None:
        """What ``answer`` cost, where it says its tokens and somebody says which model ``role`` serves."""
        prices, tokens = self._prices, {"input_tokens": answer.prompt_tokens, "output_tokens": answer.tokens}
        if prices is None or role not in prices.serves:
            return None
        said = {name: float(number) for name, number in tokens.items() if number is not None}
        return cost_of(Sample(0.0, said), prices.of(prices.serves[role]))
