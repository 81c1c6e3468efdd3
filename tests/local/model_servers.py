"""Servers of models that nobody here wrote: shipped by the rollout.yaml among their files, or started and looked at."""

from __future__ import annotations

import http.client
import json
import re
import shutil
import socket
import subprocess
import tomllib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from pytest_canary.adapters.profiles.profile import FOLDER
from tests.local.rehearsal import ROOT, Ended, Site
from tests.prometheus.servers import prometheus_of, until

FOREIGN = ROOT / ".venv" / "foreign"
RESOURCES = Path(__file__).parents[1] / "resources"
SECONDS = 300
"""For one rollout; half a minute where the machine is free."""
SERIES = re.compile(r"^([a-zA-Z_:][\w:]*)(?:\{(.*)\})? \S+$")


@dataclass(frozen=True)
class Server:
    """Somebody's server: the folder of its files, which is its profile's name too, and how it is called and asked."""

    name: str
    service: str
    program: Path
    variable: str
    """The environment variable by which its rollout.yaml finds the program."""
    brought_by: str
    ready: str
    requests: str
    """Its file of requests."""
    command: Sequence[str]
    """What starts a build; port and tag follow."""

    @property
    def files(self) -> Path:
        """Its rollout.yaml and what belongs to it."""
        return RESOURCES / "foreign" / self.name

    def site(self, folder: Path) -> Site:
        """A copy of its files that finds the program."""
        assert self.program.exists(), f"{self.program} is not there; type {self.brought_by}"
        site = Site(folder, self.files, self.service)
        site.more[self.variable] = str(self.program)
        return site


@dataclass(frozen=True)
class Shipped:
    """A build, and what its rollout has to come to."""

    build: str
    gates: tuple[str, ...] = ()
    """What may convict it, and one of them must; empty for a good one."""
    refused: str = ""
    """Why it meets no user."""

    def __str__(self) -> str:
        return self.build


@contextmanager
def shipped(server: Server, builds: Sequence[Shipped], folder: Path) -> Iterator[dict[Shipped, Future[Ended]]]:
    """Every rollout, two at once."""
    with ThreadPoolExecutor(2) as pool:
        found = {one: pool.submit(ship, server, one, folder / one.build) for one in builds}
        try:
            yield found
        finally:
            pool.shutdown(cancel_futures=True)


def ship(server: Server, one: Shipped, folder: Path) -> Ended:
    """Ship it once, counted by a Prometheus where its files bring a configuration; nothing may be left running."""
    site = server.site(folder)
    with ExitStack() as held:
        held.callback(site.end)
        if (server.files / "prometheus.yml").exists():
            shutil.copy(server.files / "prometheus.yml", folder)
            site.more["PROMETHEUS"] = held.enter_context(prometheus_of(folder / "prometheus.yml")).url
        process = site.start(build=one.build, quick=False, **({"hold": "60s"} if one.gates else {}))
        ended = site.ended(process, SECONDS)
        assert not site.alive()
        return ended


def ended_as_it_deserves(run: Ended, one: Shipped) -> None:
    """Good ones are promoted and nobody dropped; a bad one is convicted by the gate for its fault and by no other."""
    convicted = {verdict["gate"] for verdict in run.report.get("verdicts", ()) if verdict["status"] == "fail"}
    assert "Traceback" not in run.out
    if one.refused:
        assert (run.exit, run.rows["baseline"]) == (1, "failure"), run.out
        assert one.refused in run.texts["baseline"]
    elif one.gates:
        assert (run.exit, run.report["end"]) == (1, "rolled back"), run.out
        assert convicted, run.out
        assert convicted <= set(one.gates), run.out
    else:
        assert (run.exit, run.report["end"], convicted) == (0, "promoted", set()), run.out
        assert run.report["users"]["dropped"] == 0, run.report["users"]


def exposes_what_its_profile_was_tested_with(server: Server, folder: Path, ours: Sequence[str] = ()) -> None:
    """What the file below `exposition` says, but for ``ours``, is what a running server says once it was asked."""
    with running(server, folder) as (port, exposed):
        for line in (server.files / server.requests).read_text().splitlines():
            post(port, json.loads(line))
        said = shapes(exposed())
    expected = shapes((RESOURCES / "exposition" / f"{server.name}.txt").read_text())
    profile = tomllib.loads((FOLDER / f"{server.name}.toml").read_text())
    read = [one["metric"] for table in ("counters", "gauges") for one in profile.get(table, {}).values()]
    counted = {name for metric in read for name in ([metric] if isinstance(metric, str) else metric)}
    counted |= {f"{one['metric']}_bucket" for one in profile.get("histograms", {}).values()}

    assert {shape for shape in expected if shape[0] not in ours} <= said
    assert counted <= {name for name, _ in said}


def shapes(text: str) -> set[tuple[str, frozenset[str]]]:
    """The name and the labels' names of every series."""
    found = [SERIES.match(line) for line in text.splitlines() if line and not line.startswith("#")]
    return {(one[1], frozenset(re.findall(r'(\w+)="', one[2] or ""))) for one in found if one}


@contextmanager
def running(server: Server, folder: Path) -> Iterator[tuple[int, Callable[[], str]]]:
    """Its build v1, started as its rollout.yaml would: the port, and what reads its metrics."""
    site = server.site(folder / "site")
    with closing(socket.create_server(("127.0.0.1", 0))) as held:
        port = held.getsockname()[1]
    home = site.folder / "rollouts"
    with (folder / "log").open("wb") as log:
        command = [*server.command, str(port), "v1"]
        process = subprocess.Popen(command, cwd=home, env=site.env, stdout=log, stderr=log)
        try:
            until(lambda: process.poll() is not None or answers(f"127.0.0.1:{port}", server.ready), 120, server.name)
            assert process.poll() is None, (folder / "log").read_text()
            found = home / "targets" / f"{port}.json"
            target = json.loads(found.read_text())[0]["targets"][0] if found.exists() else f"127.0.0.1:{port}"
            yield port, lambda: get(target)
        finally:
            site.end()
            process.wait(30)


def answers(place: str, path: str) -> bool:
    """Whether a GET is answered with 200."""
    with suppress(OSError, http.client.HTTPException, AssertionError):
        return get(place, path) is not None
    return False


def get(place: str, path: str = "/metrics") -> str:
    """The body of a GET."""
    with closing(http.client.HTTPConnection(place, timeout=20)) as connection:
        connection.request("GET", path)
        answer = connection.getresponse()
        body = answer.read().decode()
    assert answer.status == 200, body
    return body


def post(port: int, record: dict[str, object]) -> None:
    """Ask one of the requests of a file; it has to be answered well."""
    path = str(record.get("path", "/v1/chat/completions"))
    chat = [{"role": "user", "content": record.get("prompt")}]
    body = record.get("body") or {"messages": record.get("messages", chat), "max_tokens": 10}
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=20)) as connection:
        connection.request("POST", path, json.dumps(body), {"Content-Type": "application/json"})
        answer = connection.getresponse()
        assert answer.status == 200, answer.read()
        answer.read()
