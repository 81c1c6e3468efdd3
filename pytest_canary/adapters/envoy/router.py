"""The split: whole tables, written to files that Envoy watches and believed only when Envoy itself tells them back."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from urllib.parse import urlsplit, urlunsplit

from pytest_canary.adapters.envoy.config import Json, clusters, routes
from pytest_canary.adapters.envoy.options import EnvoyOptions
from pytest_canary.adapters.envoy.server import LOOK_SECONDS, EnvoyServer
from pytest_canary.adapters.envoy.table import Place, Table
from pytest_canary.errors import AdapterError
from pytest_canary.ports import Fact, Replicas, Revision, Role, Shared, Weights

LIVE_SECONDS = 5.0
"""How long a change may take until requests follow it; tens of milliseconds is usual."""
LOCK_SECONDS = 15.0


class EnvoyRouter:
    """Splits the traffic with an Envoy of its own, which it starts."""

    Options = EnvoyOptions

    def __init__(self, options: EnvoyOptions, shared: Shared) -> None:
        self._shared = shared
        self._server = EnvoyServer(options, shared)
        shared.handles["envoy"] = self._server

    @classmethod
    def connect(cls, options: EnvoyOptions, shared: Shared) -> EnvoyRouter:
        """The router of one target, and the handle ``envoy`` for the metric source; starts nothing."""
        return cls(options, shared)

    def check(self) -> Sequence[str]:
        return self._server.check()

    def recover(self, facts: Sequence[Fact]) -> None:
        self._server.recover(facts)

    def start(self) -> None:
        self._server.start()
        with suppress(AdapterError):  # it has too much to do to say it now; the next change tells it
            self._tell(self._server.table())

    def stop(self) -> None:
        self._server.stop()

    def address(self) -> str:
        return f"http://127.0.0.1:{self._server.port}"

    def attach(self, role: Role, revision: Revision, address: str) -> None:
        self._change(lambda table: table.attach(role, revision.pin, address))
        self._shared.replicas[role] = Replicas(revision.key, lambda port: {revision.pin: _at(address, port)})

    def detach(self, role: Role) -> None:
        self._change(lambda table: table.detach(role))
        self._shared.replicas.pop(role, None)

    def weights(self) -> Weights:
        return self._server.table().shares

    def set_weights(self, weights: Weights) -> None:
        self._change(lambda table: table.share_out(weights))

    def in_flight(self, role: Role) -> int:
        place = self._server.table().places.get(role)
        if place is None:
            return 0
        told = self._server.admin(
            f"/stats?format=json&filter=^cluster\\.{place.cluster}\\.upstream_rq_(active|pending_active)$"
        )
        return sum(int(stat["value"]) for stat in told["stats"] if "value" in stat)

    def mirror(self, share: float) -> None:
        self._change(lambda table: table.mirrored(share))

    def _change(self, edit: Callable[[Table], Table]) -> None:
        """Clusters appear before the first request that may go there, and go after the last."""
        with self._locked():
            before = self._server.table()
            after = edit(before)
            if after != before:
                self._replace(before, after)
            self._tell(after)

    def _replace(self, before: Table, after: Table) -> None:
        old, new = list(before.places.values()), list(after.places.values())
        if not set(new) <= set(old):
            self._write_clusters([*old, *new], f"{after.version}.0")
        self._write_routes(before, after)
        if {place.cluster for place in old} - {place.cluster for place in new}:
            self._write_clusters(new, f"{after.version}.1")

    def _tell(self, table: Table) -> None:
        """Say where each role is scraped, for a source that counts by labels."""
        labels = self._shared.labels
        labels |= {role: {"instance": urlsplit(place.address).netloc} for role, place in table.places.items()}
        for gone in labels.keys() - table.places.keys():
            del labels[gone]

    def _write_clusters(self, places: list[Place], version: str) -> None:
        configured = clusters(places, self._server.options, version)
        query = "/stats?format=json&filter=^cluster_manager\\.cds\\.version_text$"
        self._write(
            "clusters.json",
            configured,
            lambda: any(stat.get("value") == version for stat in self._server.admin(query)["stats"]),
        )

    def _write_routes(self, before: Table, after: Table) -> None:
        old, new = routes(before, self._server.options), routes(after, self._server.options)
        try:
            self._write("routes.json", new, lambda: self._server.table().version == after.version)
        except AdapterError:
            self._server.write("routes.json", json.dumps(old))
            raise

    def _write(self, name: str, configured: Json, live: Callable[[], bool]) -> None:
        """Write one file and wait until Envoy follows it, or says why it will not."""
        clock = self._shared.clock
        said = self._server.said()
        self._server.write(name, json.dumps(configured))
        until = clock.now() + LIVE_SECONDS
        while not live():
            why = self._server.refusal(name, said)
            if why or clock.now() >= until:
                raise AdapterError(f"Envoy has not taken {self._server.folder / name}: {why or 'it does not say why'}")
            clock.sleep(LOOK_SECONDS)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """One change at a time, whichever process makes it."""
        clock = self._shared.clock
        until = clock.now() + LOCK_SECONDS
        self._server.folder.mkdir(parents=True, exist_ok=True)
        handle = os.open(self._server.folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            while True:
                try:
                    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if clock.now() >= until:
                        raise AdapterError(
                            f"another process has been changing {self._server.folder} for too long"
                        ) from None
                clock.sleep(LOOK_SECONDS)
            yield
        finally:
            os.close(handle)


def _at(address: str, port: int | None) -> str:
    """``address`` with another ``port``, where one is asked for."""
    parts = urlsplit(address)
    return address if port is None else urlunsplit(parts._replace(netloc=f"{parts.hostname}:{port}"))
