"""What the local world promises, measured: cuts, dead runs, Envoy's price, the price of a run, and drops over time.

    python benchmarks/local_world.py [--rounds 30] [--kills 10] [--minutes 30]

Real Envoy, real builds, real kills; a table of Markdown at the end.  Users exposed per defect have a command of their
own, `python -m tests.local.defects`.
"""

from __future__ import annotations

import argparse
import http.client
import statistics
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from pytest_canary import Fact, Role, Shared, SystemClock  # noqa: E402
from pytest_canary.adapters import envoy, ledger, local  # noqa: E402
from tests.local.crowd import Crowd  # noqa: E402
from tests.local.killed import wait_for_guard  # noqa: E402
from tests.local.main_job import HASTY, address_in, killed  # noqa: E402
from tests.local.rehearsal import Site  # noqa: E402

KEPT = ("--set", "keep=true")
ASKERS = 4


class Asked:
    """Everybody who asks, on connections that are kept: when each request began, and which build answered it."""

    def __init__(self, address: str, askers: int = ASKERS) -> None:
        url = urlsplit(address)
        self._place, self._over = (str(url.hostname), url.port or 80), threading.Event()
        self.answers: list[tuple[float, str]] = []
        self.failed = 0
        self._threads = [threading.Thread(target=self._ask) for _ in range(askers)]

    def __enter__(self) -> Asked:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()

    def _ask(self) -> None:
        connection = http.client.HTTPConnection(*self._place, timeout=10)
        while not self._over.wait(0.002):
            begun = time.monotonic()
            try:
                connection.request("GET", "/health")
                answer = connection.getresponse()
                answer.read()
                self.answers.append((begun, answer.headers["x-served-by"] or ""))
            except (OSError, http.client.HTTPException):
                self.failed += 1
                connection.close()
        connection.close()

    def last(self, pin: str, since: float) -> float:
        """Seconds after ``since`` at which the last request began that ``pin`` answered; 0 when none did."""
        return max([begun - since for begun, by in list(self.answers) if by == pin and begun > since], default=0.0)


@contextmanager
def split(home: Path) -> Iterator[tuple[Any, Any, Any, Shared]]:
    """Envoy before two builds of the demo gateway, and a ledger."""
    shared = Shared("gateway", SystemClock(), home / "state", home)
    command = ("{python}", "-m", "pytest_canary.demo", "--port", "{port}", "--build", "{tag}")
    offered: Any = local.OFFERS["platform"]
    platform = offered.connect(offered.Options(command=command), shared)
    routers: Any = envoy.OFFERS["router"]
    router = routers.connect(routers.Options(), shared)
    try:
        platform.start()
        router.start()
        from pytest_canary import Change

        canary = platform.resolve("gateway:v2", Change())
        platform.deploy(canary)
        while not platform.ready(canary).ready:
            time.sleep(0.05)
        router.attach(Role.BASELINE, platform.stable(), platform.address(platform.stable()))
        router.attach(Role.CANARY, canary, platform.address(canary))
        yield platform, router, canary, shared
    finally:
        router.stop()
        platform.stop()


def cuts(rounds: int) -> str:
    """Decision -> weight 0, as clients see it: the fact on disk, the new table, the last request that went there."""
    took = []
    with tempfile.TemporaryDirectory() as name, split(Path(name)) as (_, router, canary, shared):
        facts: Any = ledger.OFFERS["file"]
        book = facts(shared.state)
        router.set_weights({Role.BASELINE: 1.0})
        with Asked(router.address()) as users:
            for _ in range(rounds):
                router.set_weights({Role.BASELINE: 0.5, Role.CANARY: 0.5})
                time.sleep(0.3)
                decided = time.monotonic()
                book.append(Fact("weights", time.time(), {"baseline": 1.0}))
                router.set_weights({Role.BASELINE: 1.0})
                programmed = time.monotonic() - decided
                time.sleep(0.3)
                took.append((max(users.last(canary.pin, decided), 0.0), programmed))
    last, programmed_in = ([1000 * pair[index] for pair in took] for index in (0, 1))
    return row(
        "decision to the last request that the canary got",
        f"median {statistics.median(last):.1f} ms, worst of {rounds} {max(last):.1f} ms",
        f"programmed after {statistics.median(programmed_in):.1f} ms; goal 100 ms",
    )


def deaths(kills: int) -> str:
    """`kill -9` of a run whose canary has half of the users -> the last request that the canary got."""
    took = []
    for _ in range(kills):
        with tempfile.TemporaryDirectory() as name:
            site = prepared(Path(name))
            users: list[Asked] = []
            death: list[float] = []

            def enter(said: str, users: list[Asked] = users, death: list[float] = death) -> None:
                users.append(Asked(address_in(said)).__enter__())
                time.sleep(0.3)
                death.append(time.monotonic())

            killed(site, guard=True, keep="true", before=enter)
            wait_for_guard(site)
            time.sleep(0.3)
            users[0].__exit__()
            pins = Counter(by for _, by in users[0].answers)
            stable = users[0].answers[-1][1]
            (canary,) = [pin for pin in pins if pin != stable]
            took.append(users[0].last(canary, death[0]))
            assert not users[0].failed, "a request failed"
            site.canary("down", *KEPT)
            site.end()
    return row(
        "run killed to the last request that the canary got",
        f"median {statistics.median(took):.2f} s, worst of {kills} {max(took):.2f} s",
        "by the guard; no request failed; goal 2 s",
    )


def price_of_envoy(requests: int = 3000) -> str:
    """The same build asked directly and through Envoy, in turn, on one connection each."""
    with tempfile.TemporaryDirectory() as name, split(Path(name)) as (platform, router, _, _shared):
        router.set_weights({Role.BASELINE: 1.0})
        ways = [urlsplit(where) for where in (platform.address(platform.stable()), router.address())]
        connections = [http.client.HTTPConnection(str(way.hostname), way.port or 80) for way in ways]
        took: list[list[float]] = [[], []]
        for _ in range(requests):
            for connection, times in zip(connections, took, strict=True):
                begun = time.perf_counter()
                connection.request("GET", "/health")
                connection.getresponse().read()
                times.append(1000 * (time.perf_counter() - begun))
        for connection in connections:
            connection.close()
    (d50, d99), (e50, e99) = ((statistics.median(times), sorted(times)[int(0.99 * len(times))]) for times in took)
    return row(
        "added by Envoy", f"p50 {e50 - d50:.2f} ms, p99 {e99 - d99:.2f} ms", f"directly p50 {d50:.2f}, p99 {d99:.2f} ms"
    )


def price_of_a_run(runs: int = 3) -> str:
    """Everything besides what was asked for: holds, warm-up and the baseline's window."""
    took = []
    for _ in range(runs):
        with tempfile.TemporaryDirectory() as name:
            site = prepared(Path(name))
            begun = time.monotonic()
            run = site.run(quick=False)
            whole = time.monotonic() - begun
            assert run.exit == 0, run.out
            asked = ("hold[", "warmup", "baseline")
            took.append(whole - sum(step["seconds"] for step in run.report["steps"] if step["name"].startswith(asked)))
    return row(
        "a whole run of the example, outside holds, warm-up and baseline",
        f"median {statistics.median(took):.1f} s",
        f"of {runs} runs; goal 10 s",
    )


def capacity(rates: tuple[int, ...] = (200, 400, 600, 800, 1000, 1200, 1400)) -> str:
    """The highest rate at which a whole promotion is carried without lag: a quarter of the requests are streams."""
    carried, lags = 0, []
    for rate in rates:
        with tempfile.TemporaryDirectory() as name:
            site = prepared(Path(name))
            settings = {**HASTY, "stages": "10,50,100", "load.rate": str(rate), "warmup.prompts": "prompts.jsonl"}
            run = site.run(**{**settings, "hold": "3s"})
        seen = run.report["users"]
        lags.append(f"{rate}/s: {1000 * seen['lag_p99_seconds']:.1f} ms, {seen['dropped']} dropped")
        if run.exit or seen["dropped"] or seen["lag_p99_seconds"] > 0.005:
            break
        carried = rate
    return row(
        "carried through a promotion, load and builds on the same two cores", f"{carried} requests per second",
        "p99 of the load's own lag at " + "; ".join(lags),
    )  # fmt: skip


def loop(minutes: float) -> str:
    """Promotions and rollbacks in turn behind one address, with load and a crowd of clients, for so long."""
    until, ends, sent, dropped = time.monotonic() + 60 * minutes, Counter[str](), 0, 0
    lost, answered = Counter[str](), 0
    settings = {**HASTY, "stages": "10,50,100", "load.rate": "100", "keep": "true", "warmup.prompts": "prompts.jsonl"}
    with tempfile.TemporaryDirectory() as name:
        site = prepared(Path(name))
        builds, number = ("v2", "v2-errors", "v1", "v2-slow"), 0
        while time.monotonic() < until:
            build = builds[number % len(builds)]
            number += 1
            bad = {"hold": "60s", "deadline": "120s"} if "-" in build else {}
            process = site.start(build=build, **{**settings, **bad})
            with Crowd(address_in(site.wait_for("canary target", process))) as crowd:
                run = site.ended(process)
            lost.update(crowd.lost)
            answered += crowd.answered.total()
            ends[f"{build} {run.report['end']}"] += 1
            sent += run.report["users"]["sent"]
            dropped += run.report["users"]["dropped"]
            sys.stderr.write(
                f"{number} {build} {run.report['end']}: {dropped} dropped, {dict(lost)} lost; {run.report['why']}\n"
            )
        site.canary("down", *KEPT)
        site.end()
    told = ", ".join(f"{count} {end}" for end, count in sorted(ends.items()))
    return row(
        f"{minutes:g} minutes of rollouts and rollbacks",
        f"{dropped} of {sent:,} requests dropped, {lost.total()} of {answered:,} of the crowd",
        told,
    )


def prepared(folder: Path) -> Site:
    """The example, with prompts that answer at once beside its own."""
    site = Site(folder / "site")
    example = site.folder / "rollouts" / "inference_gateway"
    (example / "short.jsonl").write_text("".join((example / "prompts.jsonl").read_text().splitlines(True)[:4]))
    return site


def row(*cells: str) -> str:
    """A line of the table, shown at once too."""
    line = f"| {' | '.join(cells)} |"
    sys.stderr.write(line + "\n")
    return line


def main() -> None:
    """Measure one after the other."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--only", default="", metavar="NAMES", help="some of: cuts deaths envoy run capacity loop")
    given = parser.parse_args()
    measured: dict[str, Callable[[], str]] = {
        "cuts": lambda: cuts(given.rounds),
        "deaths": lambda: deaths(given.kills),
        "envoy": price_of_envoy,
        "run": price_of_a_run,
        "capacity": capacity,
        "loop": lambda: loop(given.minutes),
    }
    rows = [measure() for name, measure in measured.items() if not given.only or name in given.only.split(",")]
    sys.stdout.write("\n".join(["| what | measured | |", "|---|---|---|", *rows, ""]))


if __name__ == "__main__":
    main()
