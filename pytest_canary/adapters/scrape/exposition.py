"""A page of metrics in Prometheus' text format, or OpenMetrics -> its series, and the types that it announces."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics
from prometheus_client.parser import text_string_to_metric_families as plain

OPENMETRICS = "application/openmetrics-text"
ACCEPT = f"text/plain;version=0.0.4,{OPENMETRICS};version=1.0.0;q=0.8,{OPENMETRICS};version=0.0.1;q=0.7,*/*;q=0.1"
"""The older format first: its parser takes what Prometheus itself takes, the other refuses a page for a trifle."""
ENDINGS = ("_bucket", "_sum", "_count", "_total", "_created")
END: Mapping[bool, Sequence[str]] = {True: ("# EOF", ""), False: ("",)}
"""What a page of the newer format ends with, where only some of its lines are read."""
UNTOLD = ("untyped", "unknown")
MOST = 200_000
"""Series that are kept in mind; labels that change all the time would fill it."""
SHOWN = 160
"""Characters of a parser's complaint."""

Series: TypeAlias = tuple[Mapping[str, str], float]
"""Labels and value."""


class Unreadable(ValueError):
    """A page that is not one of metrics: the end of a sentence that begins with its address."""


@dataclass(frozen=True, slots=True)
class Exposition:
    """One page, as it was read."""

    series: Mapping[str, Sequence[Series]]
    """Name of a sample -> its series."""
    kinds: Mapping[str, str] = field(default_factory=dict)
    """Metric -> its type, such as ``gauge``, under every name that it may be asked for."""
    told_at: float | None = None
    """The oldest time that the page itself puts on a series, seconds since 1970; None where it puts none."""

    def of(self, names: Iterable[str]) -> Iterator[Series]:
        """The series of all ``names``, each once."""
        seen: list[Sequence[Series]] = []
        for name in names:
            found = self.series.get(name, ())
            if not any(found is other for other in seen):  # two names of one metric
                seen.append(found)
                yield from found


Row: TypeAlias = tuple[str, Mapping[str, str]]
"""Name and labels of a series."""


class Parser:
    """Reads pages; of one with ``names`` only the lines of these metrics, since most of a page is of no gate.

    The library that knows the formats takes 20 us for a line.  All of a line but its number is the same at every look,
    so what the library has made of that is kept; a line that is new in any way sends the whole page through it again.
    """

    def __init__(self, names: Iterable[str] | None = None) -> None:
        self._wanted = None if names is None else _pattern(names)
        self._rows: dict[str, Row] = {}
        """What stands before the number -> what it is."""
        self._heads: dict[str, tuple[Mapping[str, str], frozenset[str]]] = {}
        """All lines about types -> the types, and the counters whose names do not say that they are."""

    def parse(self, text: str, content_type: str) -> Exposition:
        """What ``text`` says.

        Raises:
            Unreadable: it is another kind of page, empty, or has a series twice.

        """
        if not text or text.isspace():
            raise Unreadable("answers an empty page")
        if content_type.startswith("text/html") or text.lstrip()[:1] == "<":
            raise Unreadable("answers a web page and no metrics, to log in as it seems")
        strict = content_type.startswith(OPENMETRICS)
        if strict and not text.endswith(("# EOF", "# EOF\n")):
            raise Unreadable("answers a page without its end (# EOF)")
        lines = [line for line in self._wanted.findall(text) if line] if self._wanted else text.split("\n")
        told = [line for line in lines if line and line[0] != "#"]
        if not told:  # nothing of ours: then it must be metrics of something
            return self._read(text, strict)
        head = "\n".join(line for line in lines if line and line[0] == "#")
        known = self._recalled(head, told)
        if known is None and self._wanted:
            text = "\n".join([*lines, *END[strict]])
        return known or self._read(text, strict, head, told)

    def _recalled(self, head: str, told: Sequence[str]) -> Exposition | None:
        """The page by what is known; None where something is not."""
        known, series = self._heads.get(head), dict[str, list[Series]]()
        if known is None or len({line.rpartition(" ")[0] for line in told}) < len(told):
            return None
        try:
            for line in told:
                start, _, number = line.rpartition(" ")
                name, labels = self._rows[start]
                if "_" in number:  # a number to Python, and to nobody else
                    return None
                series.setdefault(name, []).append((labels, float(number)))
        except (KeyError, ValueError):
            return None
        return _page(series, *known)

    def _read(self, text: str, strict: bool, head: str = "", told: Sequence[str] = ()) -> Exposition:
        series: dict[str, list[Series]] = {}
        kinds: dict[str, str] = {}
        samples: list[Any] = []
        try:
            for family in (openmetrics if strict else plain)(text):
                kinds |= dict.fromkeys(_names(family), family.type) if family.type not in UNTOLD else {}
                samples += family.samples
        except Exception as error:  # the parsers raise whatever a wrong line leads them to
            said = " ".join(str(error).split())[:SHOWN]
            raise Unreadable(f"answers what is no page of metrics{': ' + said if said else ''}") from error
        if told and len(samples) < len(told):
            raise Unreadable("has a series twice")  # the parser of the newer format passes over the second
        for sample in samples:
            series.setdefault(sample.name, []).append((sample.labels, float(sample.value)))
        _each_once(series)
        bare = (
            frozenset(re.findall(r"^# TYPE (\S+) counter\s*$", text, re.MULTILINE)) if not strict else frozenset[str]()
        )
        self._learn(head, told, samples, kinds, bare)
        times = [float(sample.timestamp) for sample in samples if sample.timestamp is not None]
        return _page(series, kinds, bare, min(times, default=None))

    def _learn(
        self, head: str, told: Sequence[str], samples: Sequence[Any], kinds: Mapping[str, str], bare: frozenset[str]
    ) -> None:
        if len(self._rows) > MOST:
            self._rows, self._heads = {}, {}
        for line, sample in zip(told, samples, strict=False):  # they come in the order of their lines
            start, _, number = line.rpartition(" ")
            if sample.timestamp is None and _is(number, sample.value):
                self._rows[start] = (sample.name, sample.labels)
        if told:
            self._heads[head] = kinds, bare


def _page(
    series: dict[str, list[Series]], kinds: Mapping[str, str], bare: frozenset[str], told_at: float | None = None
) -> Exposition:
    for name in bare:
        if not name.endswith("_total") and f"{name}_total" in series:  # the parser of the older format has renamed it
            series[name] = series[f"{name}_total"]
    return Exposition(series, kinds, told_at)


def _pattern(names: Iterable[str]) -> re.Pattern[str]:
    """Lines of ``names``, and those about their types."""
    stems = {stem for name in names for stem in _stems(name)}
    any_of, ends = "|".join(re.escape(stem) for stem in sorted(stems)), "|".join(ENDINGS)
    return re.compile(rf"^(?:# TYPE )?(?:{any_of})(?:{ends})?[{{ \t].*$", re.MULTILINE)


def _is(number: str, value: float) -> bool:
    try:
        return float(number) == value
    except ValueError:
        return False


def _names(family: Any) -> Iterator[str]:
    yield family.name
    if family.type == "counter":
        yield f"{family.name}_total"


def _each_once(series: Mapping[str, Sequence[Series]]) -> None:
    for name, found in series.items():
        if len(found) > 1:
            often = Counter(tuple(sorted(labels.items())) for labels, _ in found)
            twice, times = often.most_common(1)[0]
            if times > 1:
                shown = ",".join(f'{label}="{value}"' for label, value in twice)
                raise Unreadable(f"has a series twice: {name}{{{shown}}}")


def _stems(name: str) -> Iterator[str]:
    """``name`` and what it is called where an ending belongs to the series and not to the metric."""
    yield name
    for ending in ENDINGS:
        if name.endswith(ending):
            yield name.removesuffix(ending)
