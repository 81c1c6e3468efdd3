"""Whole rollouts of the example on real Envoy and real processes, again and again: how they end, and at what price.

    python benchmarks/rehearsals.py BUILD [ROUNDS]

BUILD is one of the demo gateway's, such as v2 or v2-errors.  A line per rollout, and the summary last.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
PLUGINS = ("-p", "no:cacheprovider", "-p", "no:randomly", "-p", "no:replay", "-p", "no:embedded")


def rehearse(build: str, folder: Path) -> dict[str, Any]:
    """One rollout from nothing to its end; returns its report."""
    report = folder / "report.json"
    command = [sys.executable, "-m", "pytest", "-q", *PLUGINS, "rollouts", f"--image=inference-gateway:{build}"]
    command += [f"--canary-state={folder / 'state'}", f"--canary-report={report}"]
    subprocess.run(command, cwd=ROOT, check=False, capture_output=True, timeout=300)
    return json.loads(report.read_text())  # type: ignore[no-any-return]


def main() -> None:
    """Rehearse and count."""
    build, rounds = sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 30
    ends, seconds, exposed, dropped, until_cut = Counter[str](), list[float](), list[int](), 0, list[float]()
    for number in range(1, rounds + 1):
        with tempfile.TemporaryDirectory() as name:
            told = rehearse(build, Path(name))
        ends[told["end"]] += 1
        seconds.append(told["ended_at"] - told["began_at"])
        exposed.append(told["exposed"])
        dropped += (told["users"] or {}).get("dropped", 0)
        if told["cut"] and told["cut"]["after_seconds"] is not None:
            until_cut.append(told["cut"]["after_seconds"])
        print(f"{number:>3} {told['end']:<12} {seconds[-1]:5.1f} s  {told['why']}", flush=True)
    print(f"{build}: " + ", ".join(f"{count} of {rounds} {end}" for end, count in ends.items()))
    print(f"median {statistics.median(seconds):.1f} s, {statistics.median(exposed):.0f} exposed, {dropped} dropped")
    if until_cut:
        print(f"from the first bad answer to weight 0: median {statistics.median(until_cut):.1f} s")


if __name__ == "__main__":
    main()
