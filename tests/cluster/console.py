"""What is said while a cluster comes up: one line for each thing, with its seconds."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

_saying = threading.Lock()


class Unavailable(Exception):
    """No cluster can be run here; the text is one line that says why."""


class Broken(Exception):
    """Something that should work did not."""


def say(line: str) -> None:
    """Write one line at once, whoever else is writing."""
    with _saying:
        sys.stdout.write(line + "\n")
        sys.stdout.flush()


@contextmanager
def step(what: str) -> Iterator[None]:
    """Say ``what`` and how long it took, when it is done."""
    begin = time.monotonic()
    yield
    say(f"{what:<44}{time.monotonic() - begin:7.1f} s")


def sh(*words: object, cwd: Path | None = None, env: Mapping[str, str] | None = None, stdin: str | None = None) -> str:
    """Run a program to its end and hand back what it wrote; what it complained of is the error."""
    command = [str(word) for word in words]
    done = subprocess.run(command, cwd=cwd, env=env, input=stdin, capture_output=True, text=True, check=False)
    if done.returncode:
        last = "\n".join((done.stderr or done.stdout).strip().splitlines()[-12:])
        raise Broken(f"{' '.join(command)[:300]} ended with {done.returncode}: {last}")
    return done.stdout


def wait(what: str, probe: Callable[[], object], seconds: float = 60, every: float = 0.05) -> None:
    """Ask until ``probe`` says yes; OSError and Broken are a no."""
    end, last = time.monotonic() + seconds, "it said no"
    while True:
        try:
            if probe():
                return
        except (OSError, Broken) as problem:
            last = str(problem)
        if time.monotonic() > end:
            raise Broken(f"{what} is not ready after {seconds:.0f} s: {last}")
        time.sleep(every)
