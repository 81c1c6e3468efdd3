"""What reading and replaying a large recording costs: time and memory.

    python benchmarks/recordings.py [--size 300] [--folder FOLDER] [--test] [--keep]

Writes a recording of about ``--size`` megabytes (of gigabytes a quarter more, for counters get longer) to
``--folder``: a good canary of two replicas beside a stable build of twenty, 100 requests/s with 1 % errors, a poll
every five seconds, two histograms of 121 buckets each, and four stages that are as long as it takes.  Then it is read,
and replayed by ``pytest --canary-replay``, each in a process of its own.  With ``--test`` the rollout has a test at
every stage that asks for one more gate when the stage has been held, which is then judged by all polls of the stage.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

RATE, ERRORS, POLL_SECONDS, WINDOW = 100.0, 0.01, 5.0, 120
REPLICAS = {"baseline": 20, "canary": 2}
STAGES = (0.05, 0.25, 0.5, 1.0)
BOUNDS = [round(0.01 * 1.06**step, 6) for step in range(121)]
HISTOGRAMS = ("latency", "ttft")
ROLLOUT = f"""
service: gateway
stages: [5, 25, 50, 100]
poll: {POLL_SECONDS:g}s
gates:
  error_rate: {{ratio: 1.5}}
  latency_p99: {{ratio: 1.2}}
  ttft_p99: {{ratio: 1.3}}
  output_tokens: {{ratio: 1.3}}
targets:
  here: {{platform: {{memory: {{}}}}, router: {{memory: {{}}}}, metrics: {{memory: {{}}}}}}
"""
TEST = """
def test_clients(stage):
    stage.check("client_error_rate", ratio=3)
"""
READ = "import sys; from pathlib import Path; from pytest_canary.recording import read; "
READ += "print(sum(1 for _ in read(Path(sys.argv[1]))[1]))"
PYTEST = ("-m", "pytest", "-p", "pytest_canary.plugin", "-p", "no:cacheprovider")
Json = dict[str, Any]


class Side:
    """What one role has counted, replica by replica."""

    def __init__(self, role: str, rng: np.random.Generator) -> None:
        self._rng, self._replicas, self._role = rng, REPLICAS[role], role
        self._requests = np.zeros(self._replicas)
        self._errors, self._clients, self._tokens = (np.zeros(self._replicas) for _ in range(3))
        self._buckets = {name: np.zeros((self._replicas, len(BOUNDS) + 1)) for name in HISTOGRAMS}
        self._sums = {name: np.zeros(self._replicas) for name in HISTOGRAMS}
        middle = np.arange(len(BOUNDS) + 1)
        shapes = {"latency": np.exp(-((middle - 60) ** 2) / 300), "ttft": np.exp(-((middle - 30) ** 2) / 200)}
        self._shapes = {name: shape / shape.sum() for name, shape in shapes.items()}
        self._told = False

    def poll(self, share: float) -> Json:
        """Let five seconds pass, and tell what has changed."""
        new = self._rng.poisson(RATE * POLL_SECONDS * share / self._replicas, self._replicas)
        self._requests += new
        self._errors += self._rng.binomial(new, ERRORS)
        self._clients += self._rng.binomial(new, 0.02)
        self._tokens += np.round(new * 80 + np.sqrt(new) * self._rng.normal(0, 30, self._replicas))
        changed = {}
        for name in HISTOGRAMS:
            counts = self._rng.multinomial(new, self._shapes[name])
            self._buckets[name] += counts
            self._sums[name] += counts[:, :-1] @ np.array(BOUNDS)
            changed[name] = counts > 0
        parts = {
            f"{self._role}-{nth}": self._line(slice(nth, nth + 1), {name: changed[name][nth] for name in HISTOGRAMS})
            for nth in range(self._replicas)
            if new[nth] or not self._told
        }
        whole = self._line(slice(None), {name: changed[name].any(axis=0) for name in HISTOGRAMS})
        self._told = True
        return {**whole, "r": parts}

    def _line(self, who: slice, changed: dict[str, np.ndarray]) -> Json:
        counters = {"requests": self._requests, "errors": self._errors, "client_errors": self._clients}
        counters["output_tokens"] = self._tokens
        histograms = {}
        for name in HISTOGRAMS:
            where = np.flatnonzero(changed[name])
            counts = self._buckets[name][who, where].sum(axis=0).astype(int).tolist()
            told = {"n": dict(zip(map(str, where.tolist()), counts, strict=True))}
            told["s"] = round(float(self._sums[name][who].sum()), 4)
            histograms[name] = told if self._told else {"b": 1, **told}
        return {"c": {name: int(values[who].sum()) for name, values in counters.items()}, "h": histograms}


def lines(polls: int, seed: int = 1) -> Iterator[Json]:
    """A run with ``polls`` polls in all, as its recording has it."""
    rng = np.random.default_rng(seed)
    sides = {role: Side(role, rng) for role in REPLICAS}
    each = max((polls - WINDOW) // len(STAGES), 10)
    hold = (each - 1) * POLL_SECONDS  # from the poll at which the split was seen
    stages = [{"weight": weight, "hold": hold, "min_requests": 20} for weight in STAGES]
    window = {"window": (WINDOW - 1) * POLL_SECONDS, "min_requests": 100}
    plan = {"stages": stages, "poll": POLL_SECONDS, "baseline": window}
    yield {"recording": 2, "service": "gateway", "target": "here", "run": "large", "t": 0.0, "plan": plan}
    yield {"bounds": 1, "le": BOUNDS}
    at = 0.0
    for _ in range(WINDOW):
        yield {"t": at, "poll": "baseline", "baseline": sides["baseline"].poll(1.0)}
        at += POLL_SECONDS
    for index, weight in enumerate(STAGES):
        shares = {"baseline": 1 - weight, "canary": weight}
        yield {"t": at, "event": "stage", "data": {"index": index, "weight": weight, "stage": f"{weight:.0%}"}}
        yield {"t": at, "poll": "before", **{role: side.poll(0.0) for role, side in sides.items()}}
        for nth in range(each):
            at += POLL_SECONDS
            told = {role: side.poll(shares[role]) for role, side in sides.items()}
            yield {"t": at, "poll": "check" if nth == 0 else "look", **told}
            if nth == 0:
                yield {"t": at, "event": "split", "data": {}}
        yield {"t": at, "event": "held", "data": {"index": index, "stage": f"{weight:.0%}", "step": "advance"}}
    yield {"t": at, "event": "outcome", "data": {"end": "promoted"}}


def written(line: Json) -> str:
    """As it stands in the file."""
    return f"{json.dumps(line, separators=(',', ':'))}\n"


def make(path: Path, size: float) -> int:
    """Write about ``size`` bytes; returns how many polls those are."""
    some = [len(written(line)) for line in lines(WINDOW + 300)]
    polls = int(size / (sum(some) / len(some)))
    with path.open("w") as file:
        for line in lines(polls):
            file.write(written(line))
    return polls


@dataclass(frozen=True)
class Cost:
    """Of one process."""

    wall: float
    cpu: float
    memory: float
    """Most that it ever had, megabytes."""
    said: str

    @classmethod
    def of(cls, *words: str, folder: Path) -> Cost:
        """Run it."""
        began, out = time.monotonic(), folder / "said.txt"
        with out.open("w") as file:
            process = subprocess.Popen(
                [sys.executable, *words], cwd=folder, stdout=file, stderr=subprocess.STDOUT,
                env={**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},  # what other plugins cost is not asked here
            )  # fmt: skip
            _, status, used = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
        wall, said = time.monotonic() - began, out.read_text()
        out.unlink()
        if process.returncode:
            sys.exit(f"{words}: exit {process.returncode}\n{said}")
        return cls(wall, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024, said)

    def __str__(self) -> str:
        return f"{self.wall:6.1f} s, {self.cpu:6.1f} s of CPU, {self.memory:5.0f} MB of memory"


def measure(folder: Path, options: argparse.Namespace) -> None:
    """Say what it costs."""
    path, rollout = folder / "large.jsonl", folder / "rollouts" / "gateway"
    rollout.mkdir(parents=True, exist_ok=True)
    (rollout / "rollout.yaml").write_text(ROLLOUT)
    (rollout / "test_own.py").write_text(TEST if options.test else "")
    if not path.exists():
        began = time.monotonic()
        make(path, options.size * 1e6)
        print(f"written in {time.monotonic() - began:.0f} s")
    print(f"{path.stat().st_size / 1e6:.0f} MB, {len(os.sched_getaffinity(0))} cores")
    cost = Cost.of("-c", READ, str(path), folder=folder)
    print(f"reading   {cost}; {int(cost.said)} lines after the first")
    cost = Cost.of(*PYTEST, "rollouts", f"--canary-replay={path}", folder=folder)
    print(f"replaying {cost}")
    print(next(line for line in cost.said.splitlines() if "canary replay" in line)[:160])
    if not options.keep:
        path.unlink()


def main() -> None:
    """What was asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=float, default=300.0, help="megabytes")
    parser.add_argument("--folder", type=Path, help="where there is room for it; a temporary one when left out")
    parser.add_argument("--test", action="store_true", help="one more gate at every stage")
    parser.add_argument("--keep", action="store_true", help="leave the file there, and use it when it is there")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        measure((options.folder or Path(temporary)).resolve(), options)


if __name__ == "__main__":
    main()
