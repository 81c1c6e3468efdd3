"""The side of the synthetic users that a rollout talks to."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

import pytest_canary
from pytest_canary.adapters.headers import Sends
from pytest_canary.adapters.load.client import HEADERS, endpoint
from pytest_canary.errors import AdapterError, SpecError
from pytest_canary.ports import Fact, Seen, Shared
from pytest_canary.prompts import read_prompts

LEAVE_SECONDS = 100.0
"""A little more than the generator itself waits for answers that are due."""


class LoadOptions(Sends):
    """What ``load: {...}`` of a target may say."""

    rate: float = Field(gt=0, le=2000)
    """Requests per second."""
    prompts: str = Field(min_length=1)
    """A file of one JSON object per line, relative to the folder of the rollout.yaml."""
    arrivals: Literal["poisson", "constant"] = "poisson"
    seed: int = 0
    timeout: float = Field(default=60.0, gt=0, le=90)
    """Seconds after which a request without a whole answer counts as dropped."""
    address: str | None = Field(default=None, pattern="^http://")
    """Base URL at which they enter, where that is not the one the router tells."""
    host: str = Field(default="", pattern=r"^[A-Za-z0-9.:_-]*$")
    """The Host header that they send; the address's own when left out."""


class HttpUsers:
    """:class:`~pytest_canary.ports.Users` in a process of their own.

    Only for targets that nobody else uses: this load is on top of whatever is there.
    """

    Options = LoadOptions

    def __init__(self, options: LoadOptions, shared: Shared) -> None:
        self._options = options
        self._prompts = shared.home / options.prompts
        self._report = shared.state / "load.json"
        self._log = shared.state / "load.log"
        self._process: subprocess.Popen[bytes] | None = None
        self._entered = self._left = False

    @classmethod
    def connect(cls, options: LoadOptions | Mapping[str, Any], shared: Shared) -> HttpUsers:
        """Make users from the options of a rollout.yaml; nothing is started."""
        return cls(LoadOptions.model_validate(dict(options)), shared)

    @property
    def pid(self) -> int | None:
        """Process id of the generator, also after it has ended; None before it begins and after :meth:`stop`."""
        return self._process.pid if self._process else None

    def check(self) -> Sequence[str]:
        try:
            read_prompts(self._prompts, "load.prompts")
        except SpecError as error:
            return [str(error)]
        return []

    def recover(self, facts: Sequence[Fact]) -> None:
        """Nothing to take hold of: the generator ends with the process that started it."""

    def start(self) -> None:
        read_prompts(self._prompts, "load.prompts")

    def enter(self, address: str) -> None:
        address = self._options.address or address
        endpoint(address)
        if self._process:
            raise AdapterError(f"synthetic users are under way already and cannot enter at {address} too; leave first")
        self._report.parent.mkdir(parents=True, exist_ok=True)
        self._report.unlink(missing_ok=True)
        self._entered, self._left = True, False
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                self._command(address),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                start_new_session=True,
                env=_environment() | {HEADERS: json.dumps(self._options.plain_headers)},
            )
        assert self._process.stdout
        if self._process.stdout.readline() != b"ready\n":
            self._process.wait()
            raise self._died()

    def seen(self) -> Seen:
        if self._process and self._process.poll() is not None and not self._left:
            raise self._died()
        if not self._entered:
            return Seen()
        try:
            return Seen(**json.loads(self._report.read_bytes()))
        except FileNotFoundError:
            return Seen()

    def leave(self) -> Seen:
        """Raises :class:`~pytest_canary.errors.AdapterError` when the generator has died on the way."""
        if self._process and not self._left and self._process.poll() is None:
            self._tell(b"leave\n")
            try:
                self._left = self._process.wait(LEAVE_SECONDS) == 0
            except subprocess.TimeoutExpired:
                self.stop()
                raise AdapterError(
                    f"the load generator did not end within {LEAVE_SECONDS:g} s, see {self._log}"
                ) from None
        return self.seen()

    def stop(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout):
            if pipe:
                pipe.close()

    def _command(self, address: str) -> list[str]:
        options = self._options
        said = {"address": address, "prompts": self._prompts, "report": self._report, "rate": options.rate}
        said |= {"arrivals": options.arrivals, "seed": options.seed, "timeout": options.timeout}
        said |= {"host": options.host} if options.host else {}
        return [sys.executable, "-m", __package__, *(f"--{name}={value}" for name, value in said.items())]

    def _tell(self, word: bytes) -> None:
        assert self._process
        assert self._process.stdin
        try:
            self._process.stdin.write(word)
            self._process.stdin.flush()
        except BrokenPipeError:
            self._process.wait()

    def _died(self) -> AdapterError:
        lines = self._log.read_text(errors="replace").split("\n")
        last = next((line for line in reversed(lines) if line.strip()), "no word on standard error")
        code = self._process.returncode if self._process else None
        return AdapterError(f"the load generator ended by itself (exit {code}): {last.strip()}; see {self._log}")


def _environment() -> dict[str, str]:
    """Let the child find this very package, wherever it was imported from."""
    here = str(Path(pytest_canary.__file__).parent.parent)
    path = os.environ.get("PYTHONPATH")
    return dict(os.environ) | {"PYTHONPATH": f"{here}{os.pathsep}{path}" if path else here}
