"""What it costs to move traffic with Envoy: its start, new weights with and without load, and one poll.

    python benchmarks/shift_cost.py [ROUNDS]

Medians and ranges in milliseconds; the load is 100 requests per second of the demo gateway's short prompt.
"""

from __future__ import annotations

import itertools
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pytest_canary import Revision, Role, Shared, SystemClock
from pytest_canary.adapters import envoy, load, local

PROMPT = '{"prompt": "hello", "max_tokens": 4}\n'


def timed(rounds: int, act: Callable[[], object]) -> list[float]:
    """Milliseconds of each of ``rounds`` calls."""
    took = []
    for _ in range(rounds):
        start = time.perf_counter()
        act()
        took.append(1000 * (time.perf_counter() - start))
    return took


def show(what: str, took: list[float]) -> None:
    """One line."""
    print(f"{what:<42} median {statistics.median(took):6.1f} ms, {min(took):.1f} to {max(took):.1f}")


@contextmanager
def builds(shared: Shared) -> Any:
    """The demo gateway twice."""
    command = ("{python}", "-m", "pytest_canary.demo", "--port", "{port}", "--build", "{tag}")
    offered: Any = local.OFFERS["platform"]
    platform = offered.connect(offered.Options(command=command), shared)
    try:
        platform.start()
        yield platform
    finally:
        platform.stop()


def main() -> None:
    """Measure one after the other."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 30
    with tempfile.TemporaryDirectory() as name:
        home = Path(name)
        (home / "prompts.jsonl").write_text(PROMPT)
        shared = Shared("gateway", SystemClock(), home / "state", home)
        offered: Any = envoy.OFFERS["router"]
        router, source = offered.connect(offered.Options(), shared), envoy.OFFERS["metrics"]
        metrics: Any = source.connect(source.Options(), shared)  # type: ignore[attr-defined]
        with builds(shared) as platform:
            stable: Revision = platform.stable()
            show("Envoy starts", timed(1, router.start))
            for role in (Role.BASELINE, Role.CANARY):
                router.attach(role, stable, platform.address(stable))
            shares = itertools.cycle([0.05, 0.25, 0.5])

            def shift() -> None:
                share = next(shares)
                router.set_weights({Role.BASELINE: 1 - share, Role.CANARY: share})

            show("new weights, no traffic", timed(rounds, shift))
            users_of: Any = load.OFFERS["load"]
            users = users_of.connect(users_of.Options(rate=100, prompts="prompts.jsonl"), shared)
            users.enter(router.address())
            time.sleep(2.0)
            show("new weights, 100 requests per second", timed(rounds, shift))
            show("one poll of both builds", timed(rounds, lambda: metrics.poll([Role.BASELINE, Role.CANARY])))
            seen = users.leave()
            print(f"requests meanwhile: {seen.sent} sent, {seen.dropped} dropped")
        router.stop()


if __name__ == "__main__":
    try:
        main()
    except subprocess.SubprocessError as error:
        sys.exit(str(error))
