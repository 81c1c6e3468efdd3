"""The process behind :class:`~pytest_canary.adapters.load.HttpUsers`; it ends when whoever started it is gone."""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import os
import resource
from pathlib import Path

from pytest_canary.adapters.load.client import HEADERS, Pool, call, endpoint
from pytest_canary.adapters.load.generator import MOST, Generator
from pytest_canary.adapters.load.schedule import schedule
from pytest_canary.prompts import read_prompts


def main() -> None:
    """Run until standard input says ``leave`` (and finish) or ends (and stop at once)."""
    parser = argparse.ArgumentParser(prog="python -m pytest_canary.adapters.load", description=__doc__)
    parser.add_argument("--address", required=True)
    parser.add_argument("--host", default="")
    parser.add_argument("--prompts", required=True, type=Path)
    parser.add_argument("--report", required=True, type=Path)
    parser.add_argument("--rate", required=True, type=float)
    parser.add_argument("--arrivals", required=True)
    parser.add_argument("--seed", required=True, type=int)
    parser.add_argument("--timeout", required=True, type=float)
    options = parser.parse_args()
    # An open loop against a server that stalls holds rate x timeout connections.
    _, files = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (files, files))
    # Each takes one file here and two in a proxy that was started with the same limit, which needs some of its own.
    asyncio.run(_run(options, MOST if files == resource.RLIM_INFINITY else max(min(MOST, files // 3), 1)))


async def _run(options: argparse.Namespace, most: int) -> None:
    host, port = endpoint(options.address)
    name = options.host or f"{host}:{port}"
    more = json.loads(os.environ.get(HEADERS, "{}"))
    calls = [call(prompt, name, more) for prompt in read_prompts(options.prompts, "--prompts")]
    plan = schedule(options.rate, options.arrivals, options.seed, len(calls))
    generator = Generator(Pool(host, port), calls, plan, options.timeout, most)
    parent = os.getppid()

    def heard() -> None:
        word = os.read(0, 64)
        if not word:
            os._exit(1)
        generator.leave()

    asyncio.get_running_loop().add_reader(0, heard)
    # What was imported lives as long as the process; the collector need not look at it while requests wait.
    gc.collect()
    gc.freeze()
    os.write(1, b"ready\n")
    await generator.run(options.report, lambda: os.getppid() == parent)


if __name__ == "__main__":
    main()
