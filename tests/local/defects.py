"""Ways a build can be bad, shipped on the real platform; `python -m tests.local.defects` makes the table of the docs.

A case says how it must end.  The test ships each once; the command ships each several times and writes
`docs/defects.md` with the users that each exposed.
"""

from __future__ import annotations

import argparse
import re
import sys
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.local.rehearsal import ROOT, Ended, Site

PAGE = ROOT / "docs" / "defects.md"
BEGIN, END = "<!-- made by `python -m tests.local.defects` -->\n", "<!-- end -->\n"
AT_ONCE = 2
"""Rollouts beside each other on two cores, at half the example's rate."""
COMMON = {
    "load.rate": "50", "stages": "10,50,100", "hold": "60s", "deadline": "100s", "warmup.for": "1s",
    "baseline.window": "4s", "baseline.min_requests": "100",
}  # fmt: skip
GOOD = {"hold": "2s"}
WARM = {"warmup.for": "60s", "warmup.requests": "250", "warmup.concurrency": "12", "warmup.until_steady": "false"}


@dataclass(frozen=True)
class Defect:
    """A build, what is set besides, and how its rollout has to end."""

    build: str
    what: str
    phase: str
    """The step that stops it, or "gate", or "death" wherever that comes; empty when nothing does."""
    gates: tuple[str, ...] = ()
    """Any of these convicts, where it is a gate."""
    settings: Mapping[str, str] = field(default_factory=dict)
    note: str = ""

    @property
    def name(self) -> str:
        """What tells it from all others."""
        return f"{self.build}{' ' + self.note if self.note else ''}"

    @property
    def title(self) -> str:
        """The same as it stands in the table."""
        return f"`{self.build}`{f' ({self.note})' if self.note else ''}"

    @property
    def exit(self) -> int:
        """The exit code."""
        return 1 if self.phase else 0

    @property
    def end(self) -> str:
        """How the report names the end."""
        return "promoted" if not self.phase else "rolled back" if self.phase in ("gate", "death") else "not started"


LATENCY = ("latency_p99", "ttft_p99")
TOKENS = ("output_tokens", "cost_per_request")
DEFECTS = (
    Defect("v2", "good", "", settings=GOOD),
    Defect("v2-errors", "one answer in eight is a 500", "gate", ("error_rate",)),
    Defect("v2-slow", "everything takes twice as long", "gate", LATENCY),
    Defect("v2-model8", "another model version", "baseline"),
    Defect("v2-checkpoint", "another checkpoint under the same name and version", "baseline"),
    Defect("v2-cold", "the first 200 answers are slow", "", settings={**GOOD, **WARM}, note="warmed"),
    Defect("v2-cold", "the first 200 answers are slow", "gate", LATENCY, {"warmup.for": "0s"}, "not warmed"),
    Defect("v2-crash", "dies after 300 requests", "death"),
    Defect("v2-hangs", "never ready", "deploy", settings={"ready_timeout": "4s"}),
    Defect("v2-lies", "healthy, and every answer is a 500", "smoke"),
    Defect("v2-truncates", "two streams in five end in the middle of a 200", "gate", ("error_rate",)),
    Defect("v2-empty", "well-formed answers without text", "smoke"),
    Defect("v2-leaks", "slower with every request", "gate", LATENCY),
    Defect("v2-unauthorized", "401 to everyone", "smoke"),
    Defect("v2-expires", "401 to everyone after 80 requests", "gate", ("client_error_rate",)),
    Defect(
        "v2-flaky", "every third minute half the answers are a 500", "gate", ("error_rate",),
        {"canary.args": "[--minute, 6]"}, "a minute is 6 s",
    ),
    Defect("v2-slowstream", "the first token is in time, the others are slow", "gate",
           ("inter_token_latency_p95", "latency_p99")),
    Defect("v2-chatty", "says everything twice in the same time", "gate", TOKENS),
    Defect("v2-verbose", "uses 40 % more tokens", "gate", TOKENS),
    Defect("v2-refuses", "refuses one request in seven", "gate", ("refusal_rate",)),
)  # fmt: skip


def ship(case: Defect, folder: Path) -> Ended:
    """Ship the build of ``case`` once, in ``folder``; nothing may be left running."""
    site = Site(folder)
    try:
        ended = site.run(build=case.build, **{**COMMON, **case.settings})
        left = site.alive()
    finally:
        site.end()
    assert not left, f"{case.name} left processes behind"
    return ended


def wrong(case: Defect, run: Ended) -> str:
    """How ``run`` did not end as ``case`` has to; empty when it did."""
    if (run.exit, run.report.get("end")) != (case.exit, case.end):
        return f"exit {run.exit}, {run.report.get('end')}: {run.report.get('why')}"
    if "Traceback" in run.out:
        return "a traceback"
    if case.phase == "death" and "is hurt: ended with" not in run.report["why"]:
        return f"not for its death: {run.report['why']}"
    if case.phase not in ("", "gate", "death") and run.rows.get(case.phase) != "failure":
        return f"{case.phase} is {run.rows.get(case.phase)}: {run.report.get('why')}"
    if case.phase == "gate" and not convicted(run) & set(case.gates):
        return f"convicted by {convicted(run) or 'nobody'}: {run.report.get('why')}"
    return ""


def convicted(run: Ended) -> set[str]:
    """The gates that failed."""
    return {verdict["gate"] for verdict in run.report["verdicts"] if verdict["status"] == "fail"}


def stopped_by(case: Defect, runs: Sequence[Ended]) -> str:
    """Where the rollout ended, and by which gates, in words."""
    if case.phase == "death":
        stages = sorted({run.report["cut"]["stage"] for run in runs})
        return f"the platform at {', '.join(stages).replace('%', ' %')}"
    if case.phase != "gate":
        return case.phase or "nothing"
    gates = sorted({gate for run in runs for gate in convicted(run)})
    stages = sorted({v["stage"] for run in runs for v in run.report["verdicts"] if v["status"] == "fail"})
    shares = ", ".join(COMMON["stages"].split(",")[stage] + " %" for stage in stages)
    return f"{', '.join(f'`{gate}`' for gate in gates)} at {shares}"


def table(ended: Iterable[tuple[Defect, Sequence[Ended]]]) -> str:
    """The table of the page."""
    lines = [
        "| build | what is wrong with it | stopped by | exit | outcome | users exposed, of them failed or cut |",
        "|---|---|---|---|---|---|",
    ]
    for case, runs in ended:
        exposed = [run.report["exposed"] for run in runs]
        bad = [badly(run) for run in runs] if case.phase else []
        lines.append(
            f"| {case.title} | {case.what} | {stopped_by(case, runs)} | {case.exit} | {case.end} | "
            f"{spread(exposed)}{', ' + spread(bad) if bad and max(exposed) else ''} |"
        )
    return "\n".join(lines) + "\n"


def badly(run: Ended) -> int:
    """How many users the canary answered with a 5xx, or with half an answer."""
    users, pin = run.report["users"], (run.report["canary"] or {}).get("pin")
    return int(users["bad"].get(pin, 0)) + int(users["dropped"])


def spread(numbers: Sequence[int]) -> str:
    """The least and the most."""
    return f"{min(numbers)}" if min(numbers) == max(numbers) else f"{min(numbers)} to {max(numbers)}"


def side_by_side(cases: Sequence[Defect], folder: Path, times: int) -> Callable[[Defect], list[Future[Ended]]]:
    """Ship all of ``cases``, few at once; returns what gives the runs of a case, under way or over."""
    pool = ThreadPoolExecutor(AT_ONCE)
    found: dict[str, list[Future[Ended]]] = {}
    for case in cases:
        names = [folder / re.sub(r"\W+", "-", f"{case.name}-{number}") for number in range(times)]
        found[case.name] = [pool.submit(ship, case, name) for name in names]
    pool.shutdown(wait=False)
    return lambda case: found[case.name]


def main(argv: Sequence[str] | None = None) -> int:
    """Ship every build several times and write the page; 1 when one of them did not end as it has to."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--times", type=int, default=5)
    parser.add_argument("--only", default="", metavar="TEXT", help="builds whose name has this in it; writes no page")
    given = parser.parse_args(argv)
    cases, ended, missed = [case for case in DEFECTS if given.only in case.name], [], 0
    with tempfile.TemporaryDirectory(prefix="defects-") as name:
        runs_of = side_by_side(cases, Path(name), given.times)
        for case in cases:
            runs: list[Any] = [future.result() for future in runs_of(case)]
            misses = [text for text in (wrong(case, run) for run in runs) if text]
            missed += len(misses)
            say(f"{case.name:<40} {given.times - len(misses)} of {given.times} {'; '.join(misses)}")
            ended.append((case, runs))
    page = PAGE.read_text() if PAGE.exists() else BEGIN + END
    if not given.only:
        PAGE.write_text(page.partition(BEGIN)[0] + BEGIN + "\n" + table(ended) + "\n" + END + page.partition(END)[2])
    say(table(ended))
    return 1 if missed else 0


def say(line: str) -> None:
    """Print ``line`` at once."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
