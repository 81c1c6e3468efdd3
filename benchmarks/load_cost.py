"""What the load generator costs, beside the same open loop on httpx: processor time at one rate, side by side.

    python benchmarks/load_cost.py [RATE] [SECONDS]

The same short prompt at the same times to the demo gateway; httpx is asked by the plainest asynchronous loop.
"""

from __future__ import annotations

import asyncio
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import httpx

from pytest_canary import Shared, SystemClock
from pytest_canary.adapters import load, local

BODY = {"model": "default", "messages": [{"role": "user", "content": "hello"}], "max_tokens": 4}


def children() -> float:
    """Processor seconds of all processes of ours that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def generated(address: str, shared: Shared, rate: float, seconds: float) -> float:
    """Share of a core that the generator takes."""
    offered: Any = load.OFFERS["load"]
    users = offered.connect(offered.Options(rate=rate, prompts="prompts.jsonl", arrivals="constant"), shared)
    before = children()
    users.enter(address)
    time.sleep(seconds)
    users.leave()
    return (children() - before) / seconds


async def _ask(address: str, rate: float, seconds: float) -> None:
    async with httpx.AsyncClient(timeout=30.0) as client, asyncio.TaskGroup() as tasks:
        start = time.monotonic()
        for number in range(int(rate * seconds)):
            await asyncio.sleep(max(0.0, start + number / rate - time.monotonic()))
            tasks.create_task(client.post(f"{address}/v1/chat/completions", json=BODY))


def asked_with_httpx(address: str, rate: float, seconds: float) -> float:
    """Share of a core that httpx takes, in a process of its own."""
    before = children()
    words = [sys.executable, __file__, "--httpx", address, str(rate), str(seconds)]
    subprocess.run(words, check=True)
    return (children() - before) / seconds


def main() -> None:
    """Measure both."""
    rate = float(sys.argv[1]) if len(sys.argv) > 1 else 100.0
    seconds = float(sys.argv[2]) if len(sys.argv) > 2 else 10.0
    with tempfile.TemporaryDirectory() as name:
        home = Path(name)
        (home / "prompts.jsonl").write_text(json.dumps({"body": BODY}) + "\n")
        shared = Shared("gateway", SystemClock(), home / "state", home)
        command = ("{python}", "-m", "pytest_canary.demo", "--port", "{port}", "--build", "{tag}")
        offered: Any = local.OFFERS["platform"]
        platform = offered.connect(offered.Options(command=command), shared)
        try:
            platform.start()
            address = platform.address(platform.stable())
            ours = generated(address, shared, rate, seconds)
            theirs = asked_with_httpx(address, rate, seconds)
        finally:
            platform.stop()
    shares = f"ours {100 * ours:.1f}% of a core, httpx {100 * theirs:.1f}%"
    print(f"{rate:g} requests per second: {shares}, x{theirs / ours:.1f}")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--httpx"]:
        asyncio.run(_ask(sys.argv[2], float(sys.argv[3]), float(sys.argv[4])))
    else:
        main()
