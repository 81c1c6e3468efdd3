"""What Envoy has counted: one line of its statistics access logger per request, at the end of the stream.

* error: 5xx, or one of the flags UC UF UT UR UO URX UPE, which blame the build or the way to it;
* a client that went away (DC, DR) counts on neither side, only in ``abandoned``;
* 4xx without such a flag is a ``client_errors``;
* ``latency`` is from the first byte of the request to the last byte of the answer, failed answers included, answers
  that were cut excluded (they have no last byte); ``ttft`` is to the first byte of the body, of event streams only.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pytest_canary.adapters.envoy.options import EnvoyMetricsOptions
from pytest_canary.adapters.envoy.server import EnvoyServer
from pytest_canary.errors import AdapterError, SourceUnavailable
from pytest_canary.ports import Fact, Histogram, Role, Sample, Shared

ERROR_FLAGS = frozenset({"UC", "UF", "UT", "UR", "UO", "URX", "UPE"})
CLIENT_LEFT = frozenset({"DC", "DR"})
EVENT_STREAM = "text/event-stream"

BOUNDS = (*(float(f"{digits}e{power}") for power in range(-4, 2) for digits in range(10, 100)), 1000.0)
"""Seconds, two significant digits from 1 ms to 1000 s: the edges of Envoy's own log-linear buckets, always all."""

STATS = "/stats?format=json&histogram_buckets=detailed&usedonly&filter=^seen\\."
REQUESTS = re.compile(r"^seen\.requests\.revision\.(?P<cluster>[^.]+)\.code\.(?P<code>\d+)\.flags\.(?P<flags>.+)$")
LATENCY = re.compile(r"^seen\.latency\.revision\.(?P<cluster>[^.]+)\.flags\.(?P<flags>.+)$")
TTFT = re.compile(r"^seen\.ttft\.revision\.(?P<cluster>[^.]+)\.flags\.(?P<flags>[^.]+)\.type\.(?P<type>.*)$")


class EnvoyMetrics:
    """Reads the counters and histograms of the Envoy that the router of the same target has started.

    Histograms may lie one flush (0.2 s) behind the counters of the same sample.
    """

    Options = EnvoyMetricsOptions

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
    for stat in stats:
        named = REQUESTS.match(stat.get("name", ""))
        if named and named["cluster"] == cluster:
            for counter in _what(int(named["code"]), set(named["flags"].split(","))):
                counters[counter] += stat["value"]
    details = [one for stat in stats if "histograms" in stat for one in stat["histograms"].get("details", ())]
    return Sample(
        at,
        counters,
        {
            "latency": histogram(_totals(details, LATENCY, cluster)),
            "ttft": histogram(_totals(details, TTFT, cluster)),
        },
    )


def histogram(bins: Iterable[Mapping[str, float]]) -> Histogram:
    """Envoy's log-linear bins (microseconds) on :data:`BOUNDS`; the sum of values is that of the bins' middles."""
    counts: Counter[int] = Counter()
    total = 0.0
    for one in bins:
        lower, width, count = one["lower_bound"], one["width"], one["count"]
        counts[bisect_left(BOUNDS, (lower + width) / 1e6)] += int(count)
        total += (lower + width / 2) / 1e6 * count
    return Histogram(BOUNDS, tuple(float(counts[index]) for index in range(len(BOUNDS) + 1)), total)


def _what(code: int, flags: set[str]) -> tuple[str, ...]:
    if flags & CLIENT_LEFT:
        return ("abandoned",)
    if code >= 500 or flags & ERROR_FLAGS:
        return ("requests", "errors")
    return ("requests", "client_errors") if code >= 400 else ("requests",)


def _totals(details: Iterable[Mapping[str, Any]], name: re.Pattern[str], cluster: str) -> Iterable[Mapping[str, float]]:
    for one in details:
        named = name.match(one["name"])
        if not named or named["cluster"] != cluster or CLIENT_LEFT & set(named["flags"].split(",")):
            continue
        if named.groupdict().get("type", EVENT_STREAM).startswith(EVENT_STREAM):
            yield from one["totals"]
