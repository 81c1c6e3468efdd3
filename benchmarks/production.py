"""What production promises, measured on the cluster of the tests: cuts, returns, lost runs, calls, and drops.

    python benchmarks/production.py [--rounds 10] [--kills 3]

A real API server, gateway and Prometheus (`python -m tests.cluster up`), users from outside through the gateway, real
kills; a table of Markdown at the end.
"""

from __future__ import annotations

import argparse
import http.client
import json
import shutil
import statistics
import sys
import tempfile
import threading
import time
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from tests.cluster import running  # noqa: E402
from tests.production.killed import SHORT, elsewhere  # noqa: E402
from tests.production.shop import Shop  # noqa: E402

ASKERS = 3
COUNTING = """
from pathlib import Path
from pytest_canary.adapters.kube import Cluster

once, asked = Cluster._once, []

def counted(self, *args, **more):
    asked.append(args[0])
    return once(self, *args, **more)

Cluster._once = counted

def pytest_canary_row(row):
    with Path(__file__).with_name("calls.txt").open("a") as file:
        file.write(f"{len(asked)} {row.name} {row.seconds}\\n")
    asked.clear()
"""


class Asked:
    """Who asks the gateway for `/health`, without a pause: when each request began, and which build answered it."""

    def __init__(self, shop: Shop) -> None:
        url = urlsplit(shop.cluster.gateway)
        self._place, self._host = (str(url.hostname), url.port or 80), shop.service.host
        self._over = threading.Event()
        self.answers: list[tuple[float, str]] = []
        self.lost, self.began = 0, time.time()
        self._threads = [threading.Thread(target=self._ask) for _ in range(ASKERS)]

    def __enter__(self) -> Asked:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()

    def _ask(self) -> None:
        connection = http.client.HTTPConnection(*self._place, timeout=20)
        while not self._over.wait(0.004):
            began = time.time()
            try:
                connection.request("GET", "/health", headers={"Host": self._host})
                told = json.loads(connection.getresponse().read())
                self.answers.append((began, str(told["build"])))
            except (OSError, ValueError, KeyError, http.client.HTTPException):
                self.lost += 1
                connection.close()
        connection.close()

    def first(self, build: str, after: float) -> float:
        """When the first request began that `build` answered, after a moment."""
        return min(at for at, name in self.answers if name == build and at >= after)

    def last(self, build: str) -> float:
        """When the last request began that `build` answered."""
        return max((at for at, name in self.answers if name == build), default=0.0)


def patches(shop: Shop) -> list[tuple[float, dict[str, int]]]:
    """When the route was patched, and the weights of its first rule then, as the API server wrote it down."""
    found = []
    assert shop.cluster.audit is not None
    for line in shop.cluster.audit.read_text().splitlines():
        if shop.namespace not in line or "httproutes" not in line or '"verb":"patch"' not in line:
            continue
        told = json.loads(line)
        body = told.get("requestObject")
        if not isinstance(body, list) or told["responseStatus"]["code"] >= 300:
            continue
        refs = next((one["value"] for one in body if one["path"] == "/spec/rules/0/backendRefs"), None)
        if refs:
            at = datetime.fromisoformat(told["requestReceivedTimestamp"].replace("Z", "+00:00")).timestamp()
            found.append((at, {ref["name"]: ref.get("weight", 1) for ref in refs}))
    return found


def seconds(values: list[float]) -> str:
    """Median and worst."""
    if not values:
        return "none"
    return f"{statistics.median(values):.3g} s, worst {max(values):.3g} s of {len(values)}"


def rounds(cluster: Any, number: int, folder: Path) -> dict[str, str]:
    """Rollouts and rollbacks of one service in a row."""
    removed, returned, last_started, calls = list[float](), list[float](), list[float](), list[int]()
    first_seen = list[float]()
    ended, sent, dropped = list[str](), 0, 0
    with Shop.opened(cluster, folder) as shop, shop.users(rate=60) as seen:
        (shop.site.folder / "conftest.py").write_text(COUNTING)
        good = "v1"
        for turn in range(number):
            build = "v2-errors" if turn % 2 else ("v2" if good == "v1" else "v1")
            with Asked(shop) as asked:
                run = shop.run(build, bake="0s", **({"hold": "60s"} if build == "v2-errors" else {}))
            ended.append(f"{build} {run.report['end']}")
            name = f"{shop.service.name}-canary"
            at = next(at for at, weights in patches(shop) if at >= asked.began and weights.get(name, 0) > 0)
            first_seen.append(asked.first(build, at) - at)
            print(f"  {turn + 1}: {ended[-1]}, {seen().dropped} dropped", flush=True)
            if run.report["end"] == "promoted":
                good = build
                returned.append(run.report["return_seconds"])
            elif run.report["end"] == "rolled back":
                cut = run.report["cut"]
                removed.append(cut["seconds"] + run.report["drained"]["seconds"] + run.report["unload_seconds"])
                at = next(
                    at for at, weights in reversed(patches(shop)) if weights.get(f"{shop.service.name}-canary") == 0
                )
                last_started.append(max(0.0, asked.last(build) - at))
            lines = [line.split() for line in (shop.site.folder / "calls.txt").read_text().splitlines()]
            calls += [int(line[0]) for line in lines if line[1].startswith("hold[")]
            (shop.site.folder / "calls.txt").unlink()
            assert shop.whole(), (shop.weights, shop.left)
        began = time.time()
        with Asked(shop) as asked:
            status, told = shop.canary("revert", "--reason", "measured")
        assert status == 0, told
        sent, dropped = seen().sent, seen().dropped
        reverted = next(
            at for at, weights in patches(shop) if at > began and weights.get(f"{shop.service.name}-canary") == 100
        )
    return {
        "rollouts in a row, as they have to end": f"{len(ended)}: {', '.join(sorted(set(ended)))}",
        "requests of users without a whole answer": f"{dropped} of {sent:,}",
        "failed look to canary removed": seconds(removed),
        "last gate passed to the stable Deployment having all traffic": seconds(returned),
        "a share asked for to the first request that the canary was given": seconds(first_seen),
        "weight 0 asked for to the last request the canary was given": seconds(last_started),
        "`revert` typed to all traffic on the build before": seconds([reverted - began]),
        "API calls in a hold of a stage": f"{statistics.median(calls):.0f}, most {max(calls)}",
    }


def lost(cluster: Any, number: int, folder: Path, *, guard: bool) -> list[float]:
    """Seconds from the death of a run, with or without its guard, to the last request that its canary was given."""
    found = []
    for turn in range(number):
        here = folder / f"{guard}{turn}"
        with Shop.opened(cluster, here) as shop, shop.users(rate=30) as seen, Asked(shop) as asked:
            shutil.copy(ROOT / "tests/production/deadly.py", shop.site.folder / "conftest.py")
            shop.site.more |= {"KILL": "PATCH httproutes#2 after", **({} if guard else {"KILL_GUARD": "1"})}
            shop.start("v2", **SHORT).communicate(timeout=240)
            died = time.time()
            shop.until(lambda: shop.weights.get(f"{shop.service.name}-canary", 0) == 0, 60)
            time.sleep(2)
            if not guard:
                time.sleep(16)
                elsewhere(shop, here / "there")
            shop.until(shop.whole, 60)
            found.append(max(0.0, asked.last("v2") - died))
            assert seen().dropped == 0, seen()
    return found


def main() -> int:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--kills", type=int, default=3)
    given = parser.parse_args()
    cluster = running()
    with tempfile.TemporaryDirectory() as folder:
        table = rounds(cluster, given.rounds, Path(folder) / "rounds")
        with_guard = lost(cluster, given.kills, Path(folder), guard=True)
        table["run killed to the last request of its canary, by its guard"] = seconds(with_guard)
        without = lost(cluster, given.kills, Path(folder), guard=False)
        table["machine lost to the last request of its canary, by the guard in the cluster"] = seconds(without)
    print("\n| | measured |\n|---|---|")
    for what, value in table.items():
        print(f"| {what} | {value} |")
    return 0


if __name__ == "__main__":
    sys.exit(main())
