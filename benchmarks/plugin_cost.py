"""What an unrelated pytest run pays for the plugin being installed: the same run with and without it, in turn.

    python benchmarks/plugin_cost.py [ROUNDS]

Prints the median of both, their ratio and the difference; the goal is less than 15 ms.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path


def once(folder: Path, *args: str) -> float:
    """Seconds of one pytest process."""
    start = time.perf_counter()
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *args]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    return time.perf_counter() - start


def main() -> None:
    """Measure side by side, A B A B."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 20
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for n in range(20):
            sub = folder / f"part{n}"
            sub.mkdir()
            (sub / f"test_{n}.py").write_text("def test_one(): pass\n" * 1)
        pairs = [(once(folder), once(folder, "-p", "no:canary")) for _ in range(rounds + 1)][1:]
    with_us, without = (statistics.median(side) for side in zip(*pairs, strict=True))
    difference = statistics.median(a - b for a, b in pairs)
    ratio = statistics.median(a / b for a, b in pairs)
    print(f"with {with_us * 1000:.0f} ms, without {without * 1000:.0f} ms: x{ratio:.3f}, {difference * 1000:+.1f} ms")


if __name__ == "__main__":
    main()
