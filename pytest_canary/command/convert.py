"""`pytest-canary convert`: what another system has kept -> a recording to replay."""

from __future__ import annotations

import argparse
from pathlib import Path

from pytest_canary.command.say import say
from pytest_canary.errors import UsageError
from pytest_canary.recording import Meaning, lines_of, oddities, read_pairs

SAYS = "make a recording for --canary-replay of the metric sets of another system"
FORMATS = ("kayenta",)


def add_arguments(command: argparse.ArgumentParser) -> None:
    """What may be typed after ``convert``."""
    command.add_argument("format", choices=FORMATS, help="kayenta: lists of metric set pairs, as JSON")
    command.add_argument("files", metavar="FILE", nargs="+", type=Path, help="files of one and the same canary")
    command.add_argument("-o", "--out", metavar="OUT", type=Path, required=True, help="the recording to write")
    command.add_argument("--service", metavar="NAME", default="", help="the service, if several rollouts are replayed")
    command.add_argument(
        "--weight", metavar="PERCENT", type=float, help="the canary's share; that of the requests when left out"
    )
    command.add_argument(
        "--as",
        dest="meanings",
        metavar="METRIC=NAME",
        action="append",
        default=[],
        help="what a metric counts: 'http 5xx=errors' in each step, 'rps=requests/s' a second, or 'mem=gauge:memory'; "
        "may be repeated",
    )


def convert(given: argparse.Namespace) -> int:
    """Write the recording; raises UsageError, and then nothing is written."""
    meanings = dict(_meaning(text) for text in given.meanings)
    if given.weight is not None and not 0 < given.weight <= 100:
        raise UsageError(f"--weight: found {given.weight:g}, expected the canary's share in per cent, such as 5")
    if any(path.resolve() == given.out.resolve() for path in given.files):
        raise UsageError(f"-o: found {given.out}, which is to be read; name another file")
    series = [one for path in given.files for one in read_pairs(path, meanings)]
    unknown = meanings.keys() - {one.metric for one in series}
    if unknown:
        known = ", ".join(sorted({one.metric for one in series}))
        raise UsageError(f"--as: found {sorted(unknown)[0]!r}, expected one of the metrics in the files: {known}")
    if not any(list(one.points()) for one in series):
        raise UsageError(f"{given.files[0]}: found no values at all, expected numbers in `values`")
    lines = list(lines_of(series, given.service, given.weight and given.weight / 100))
    try:
        given.out.write_text("\n".join([*lines, ""]), encoding="utf-8")
    except OSError as error:
        why = f"{error.strerror}; name a file in a folder there is"
        raise UsageError(f"-o: {given.out} cannot be written: {why}") from error
    counts = sorted({one.meaning.name for one in series if one.meaning.kind != "gauge"})
    gauges = sorted({one.meaning.name for one in series if one.meaning.kind == "gauge"})
    said = [f"{kind} {', '.join(names)}" for kind, names in (("counters", counts), ("gauges", gauges)) if names]
    say(f"{given.out}: {len(lines) - 3} polls; {'; '.join(said)}")
    for odd in oddities(series):
        say(odd)
    if "requests" not in counts:
        say("no metric is `requests`, so gates on rates have nothing to judge; name it with --as 'METRIC=requests'")
    say(f"next: pytest rollouts/ --canary-replay={given.out}")
    return 0


def _meaning(text: str) -> tuple[str, Meaning]:
    metric, equals, name = text.rpartition("=")
    if not equals or not metric or not name:
        raise UsageError(f"--as: found {text!r}, expected METRIC=NAME, such as 'http 5xx=errors' or 'rps=requests/s'")
    return metric, Meaning.of(name)
