"""What Envoy has counted: one line of its statistics access logger per request, at the end of the stream.

* error: 5xx, or one of the flags UC UF UT UR UO URX UPE, which blame the build or the way to it;
* a client that went away (DC, DR) counts on neither side, only in ``abandoned``;
* 4xx without such a flag is a ``client_errors``;
* an error inside the 200 of a model, or a stream of it without an end, is an error too; see ``answers.lua``;
* ``latency`` is from the first byte of the request to the last byte of the answer, failed answers included, answers
  that were cut excluded (they have no last byte); ``ttft`` is to the first byte of the body, of event streams only;
* tokens are those of ``usage``, or four characters of text each where an answer has none; ``itl`` has one value for
  every streamed answer, its mean time from one token to the next.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pytest_canary.adapters.envoy.options import EnvoyMetricsOptions
from pytest_canary.adapters.envoy.server import EnvoyServer
from pytest_canary.errors import AdapterError, SourceUnavailable
from pytest_canary.ports import Asked, Fact, Histogram, Role, Sample, Shared

ERROR_FLAGS = frozenset({"UC", "UF", "UT", "UR", "UO", "URX", "UPE"})
CLIENT_LEFT = frozenset({"DC", "DR"})
EVENT_STREAM = "text/event-stream"

BOUNDS = (*(float(f"{digits}e{power}") for power in range(-4, 2) for digits in range(10, 100)), 1000.0)
"""Seconds, two significant digits from 1 ms to 1000 s: the edges of Envoy's own log-linear buckets, always all."""
TOKENS = (*(float(f"{digits}e{power}") for power in range(-1, 5) for digits in range(10, 100)), 1e6)
"""The same from 1 to a million tokens."""

STATS = "/stats?format=json&histogram_buckets=detailed&usedonly&filter=^seen\\."
REQUESTS = re.compile(
    r"^seen\.requests\.revision\.(?P<cluster>[^.]+)\.code\.(?P<code>\d+)\.flags\.(?P<flags>[^.]+)\.said\.(?P<said>.*)$"
)
OTHER = re.compile(
    r"^seen\.(?P<name>\w+)\.revision\.(?P<cluster>[^.]+)\.flags\.(?P<flags>[^.]+)(\.type\.(?P<type>.*))?$"
)
IN_SECONDS = ("latency", "ttft")
OF_ANSWERS = {"itl": False, "input_tokens": True, "output_tokens": True}
"""Histograms of what is read in answers -> whether the values are whole numbers of tokens."""


def _asked(name: str) -> Asked:
    return Asked(f"/stats?usedonly&filter=^seen\\.{name}", by="Envoy")


ASKED: Mapping[str, Asked] = {
    **{
        f"counters.{name}": _asked("requests")
        for name in ("requests", "errors", "client_errors", "abandoned", "refusals")
    },
    **{f"counters.{name}": _asked(name) for name in ("input_tokens", "output_tokens")},
    **{f"histograms.{name}": _asked(name) for name in (*IN_SECONDS, *OF_ANSWERS)},
}


class EnvoyMetrics:
    """Reads the counters and histograms of the Envoy that the router of the same target has started.

    Histograms may lie one flush (0.2 s) behind the counters of the same sample.
    """

    Options = EnvoyMetricsOptions
    interval_seconds = 0.0

    def __init__(self, shared: Shared) -> None:
        self._shared = shared

    @classmethod
    def connect(cls, options: EnvoyMetricsOptions, shared: Shared) -> EnvoyMetrics:  # noqa: ARG003
        """The metric source of one target; finds the router through the handle ``envoy``."""
        return cls(shared)

    def check(self) -> Sequence[str]:
        if "envoy" in self._shared.handles:
            return []
        return ["metrics `envoy` counts what the router `envoy` sees, and this target has another; change one of them"]

    def recover(self, facts: Sequence[Fact]) -> None:
        """Nothing: the router takes hold of Envoy."""

    def start(self) -> None:
        """Nothing: the router starts Envoy."""

    def stop(self) -> None:
        """Nothing: the router ends Envoy."""

    def explain(self, role: Role) -> Mapping[str, Asked]:
        """As the port has it: paths of Envoy's admin address."""
        del role
        return ASKED

    def poll(self, roles: Sequence[Role]) -> Mapping[Role, Sample]:
        server: EnvoyServer | None = self._shared.handles.get("envoy")
        if server is None:
            raise SourceUnavailable(self.check()[0])
        at = self._shared.clock.now()
        try:
            places = server.table().places
            stats = server.admin(STATS)["stats"]
        except AdapterError as error:
            raise SourceUnavailable(str(error)) from error
        return {role: sample(stats, places[role].cluster, at) for role in roles if role in places}


def sample(stats: Sequence[Mapping[str, Any]], cluster: str, at: float) -> Sample:
    """What ``stats`` (Envoy's JSON, detailed histograms) say about ``cluster``."""
    counters = dict.fromkeys(("requests", "errors", "client_errors", "abandoned"), 0.0)
    read: Counter[str] = Counter()
    for stat in stats:
        named = REQUESTS.match(stat.get("name", ""))
        if named and named["cluster"] == cluster:
            for counter in _what(int(named["code"]), set(named["flags"].split(",")), named["said"]):
                counters[counter] = counters.get(counter, 0.0) + stat["value"]
        elif "value" in stat and (other := _other(stat["name"], cluster)):
            read[other] += stat["value"]
    bins = _bins(stats, cluster)
    histograms = {name: histogram(bins[name]) for name in IN_SECONDS}
    if read or not counters["requests"]:  # else no answer could be read, and nobody knows what was refused
        for name in ("refusals", "input_tokens", "output_tokens"):
            counters[name] = counters.get(name, 0.0) + read[name]
        for name, whole in OF_ANSWERS.items():
            histograms[name] = (tokens if whole else histogram)(bins[name])
    return Sample(at, counters, histograms)


def histogram(bins: Iterable[Mapping[str, float]]) -> Histogram:
    """Envoy's log-linear bins (microseconds) on :data:`BOUNDS`; the sum of values is that of the bins' middles."""
    return _histogram(((one["lower_bound"] / 1e6, one["width"] / 1e6, one["count"]) for one in bins), BOUNDS)


def tokens(bins: Iterable[Mapping[str, float]]) -> Histogram:
    """The same of whole numbers, on :data:`TOKENS`: a bin from 25 to 26 holds nothing but 25."""
    return _histogram(((one["lower_bound"], max(one["width"] - 1.0, 0.0), one["count"]) for one in bins), TOKENS)


def _histogram(bins: Iterable[tuple[float, float, float]], bounds: tuple[float, ...]) -> Histogram:
    counts: Counter[int] = Counter()
    total = 0.0
    for lower, width, count in bins:
        counts[bisect_left(bounds, lower + width / 2)] += int(count)
        total += (lower + width / 2) * count
    return Histogram(bounds, tuple(float(counts[index]) for index in range(len(bounds) + 1)), total)


def _what(code: int, flags: set[str], said: str) -> tuple[str, ...]:
    if flags & CLIENT_LEFT:
        return ("abandoned",)
    if code >= 500 or flags & ERROR_FLAGS or said in ("error", "cut"):
        return ("requests", "errors")
    if code >= 400:
        return ("requests", "client_errors")
    return ("requests", "refusals") if said == "refusal" else ("requests",)


def _other(name: str, cluster: str) -> str:
    """What the statistic ``name`` counts of ``cluster``; empty where that is nothing, or a client that went away."""
    named = OTHER.match(name)
    if not named or named["cluster"] != cluster or CLIENT_LEFT & set(named["flags"].split(",")):
        return ""
    streamed = named["type"] is None or named["type"].startswith(EVENT_STREAM)
    return named["name"] if streamed else ""


def _bins(stats: Iterable[Mapping[str, Any]], cluster: str) -> Mapping[str, Sequence[Mapping[str, float]]]:
    """Name of a histogram -> the bins of ``cluster``; of several that are one to us, one after the other."""
    found = defaultdict[str, list[Mapping[str, float]]](list)
    for stat in stats:
        for one in stat["histograms"].get("details", ()) if "histograms" in stat else ():
            found[_other(one["name"], cluster)] += one["totals"]
    return found
