"""The adapters of this machine keep the promises of their ports: real processes, a real Envoy, real requests."""

from __future__ import annotations

import http.client
import json
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from pytest_canary.adapters.envoy import EnvoyMetrics, EnvoyRouter
from pytest_canary.adapters.envoy.machine import find_binary
from pytest_canary.adapters.http import HttpProbe
from pytest_canary.adapters.load import HttpUsers
from pytest_canary.adapters.local import LocalPlatform
from pytest_canary.adapters.scrape import ScrapeMetrics
from pytest_canary.demo.requests import MODEL
from tests.adapters.contracts import (
    MetricSourceContract,
    PlatformContract,
    ProbeContract,
    RouterContract,
    UsersContract,
)
from tests.local.servers import demo, plain, request, serving

ROOT = Path(__file__).parents[2]
CHAT = json.dumps({"messages": [{"role": "user", "content": "The capital of France?"}], "stream": True})
PROMPTS = ROOT / "rollouts" / "inference_gateway" / "prompts.jsonl"
needs_envoy = pytest.mark.skipif(find_binary(None) is None, reason="Envoy is not installed")


@pytest.fixture(scope="module")
def gateway():
    """The demo gateway's healthy build, as a process."""
    with demo("v1") as running:
        yield running.address


def always_ok(connection):
    """Answer every request of one connection."""
    while request(connection) is not None:
        connection.sendall(plain(b"{}"))


@pytest.fixture(scope="class")
def builds(request):
    """Two small servers, for classes that send requests through a router."""
    with serving(always_ok) as stable, serving(always_ok) as canary:
        request.cls.places = (stable, canary)
        yield


class TestLocalPlatform(PlatformContract):
    """Builds are processes."""

    model = f"{MODEL}@7"

    def connect(self, shared):
        """The demo gateway's builds."""
        command = [sys.executable, "-m", "pytest_canary.demo", "--port", "{port}", "--build", "{tag}"]
        options = {"command": command, "builds": ["v1", "v2*"], "env": {"PYTHONPATH": str(ROOT)}, "stop_seconds": 5}
        return LocalPlatform.connect(LocalPlatform.Options.model_validate(options), shared)


@needs_envoy
class TestEnvoyRouter(RouterContract):
    """The split is Envoy's own."""

    def connect(self, shared):
        """On a free port."""
        return EnvoyRouter.connect(EnvoyRouter.Options(), shared)


@needs_envoy
@pytest.mark.usefixtures("builds")
class TestEnvoyMetrics(MetricSourceContract):
    """The counts are Envoy's own."""

    def connect(self, shared):
        """With the router whose Envoy it asks."""
        router = EnvoyRouter.connect(EnvoyRouter.Options(), shared)
        source = EnvoyMetrics.connect(EnvoyMetrics.Options(), shared)
        router.start()
        source.start()
        return router, source

    def silent(self, shared):
        """There is no Envoy."""
        return EnvoyMetrics.connect(EnvoyMetrics.Options(), shared)

    def addresses(self):
        """They answer 200."""
        return self.places

    def ask(self, router, bench, requests):
        """One after the other, on one connection."""
        del bench
        connection = http.client.HTTPConnection(urlsplit(router.address()).netloc, timeout=10)
        for _ in range(requests):
            connection.request("GET", "/")
            assert connection.getresponse().read() == b"{}"
        connection.close()


@pytest.fixture(scope="class")
def gateways(request):
    """Two demo gateways, which count themselves."""
    with demo("v1") as stable, demo("v2") as canary:
        request.cls.places = (stable.address, canary.address)
        yield


@needs_envoy
@pytest.mark.usefixtures("gateways")
class TestScrapeMetrics(MetricSourceContract):
    """The counts are the builds' own, at the addresses that the router tells."""

    histograms = ("latency", "ttft")

    def connect(self, shared):
        """With a router that tells where it sends to."""
        router = EnvoyRouter.connect(EnvoyRouter.Options(), shared)
        source = ScrapeMetrics.connect(ScrapeMetrics.Options(), shared)
        router.start()
        source.start()
        return router, source

    def silent(self, shared):
        """Nobody is there."""
        roles = {role: [f"http://127.0.0.1:{port}"] for role, port in (("baseline", 9), ("canary", 10))}
        return ScrapeMetrics.connect(ScrapeMetrics.Options(roles=roles), shared)

    def addresses(self):
        """They answer chats."""
        return self.places

    def ask(self, router, bench, requests):
        """Streams, ten at once."""
        del bench
        place, headers = urlsplit(router.address()).netloc, {"Content-Type": "application/json"}

        def one(_: int) -> bytes:
            with closing(http.client.HTTPConnection(place, timeout=20)) as connection:
                connection.request("POST", "/v1/chat/completions", CHAT, headers)
                return connection.getresponse().read()

        with ThreadPoolExecutor(10) as pool:
            assert all(b"[DONE]" in answer for answer in pool.map(one, range(requests)))


class TestHttpUsers(UsersContract):
    """Requests are real."""

    @pytest.fixture(autouse=True)
    def _gateway(self, gateway):
        self.gateway = gateway

    def connect(self, shared):
        """With the prompts of the example."""
        (shared.home / "prompts.jsonl").write_bytes(PROMPTS.read_bytes())
        return HttpUsers.connect({"prompts": "prompts.jsonl", "rate": 20}, shared)

    def address(self):
        """The demo gateway itself."""
        return self.gateway


class TestHttpProbe(ProbeContract):
    """Answers are read to their last byte."""

    @pytest.fixture
    def probe(self):
        """With its usual patience."""
        probe = HttpProbe()
        yield probe
        probe.close()

    @pytest.fixture
    def address(self, gateway):
        """The demo gateway itself."""
        return gateway
