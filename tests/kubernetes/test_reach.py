"""How a probe gets to a build past the router: directly, or by a tunnel through the API server."""

from __future__ import annotations

import re
import threading
import time

import httpx
import pytest

from pytest_canary.adapters.kubernetes.backends import pods_of
from pytest_canary.adapters.kubernetes.reach import answers
from pytest_canary.adapters.scrape import ScrapeMetrics
from pytest_canary.errors import AdapterError
from pytest_canary.ports import Role
from tests.cluster import install
from tests.kubernetes.place import STABLE, Place, one_line, until


@pytest.fixture
def tunnelled(place, tmp_path):
    """A platform that goes through the API server, and the address of its stable build."""
    platform = place.platform(place.shared(tmp_path), reach="port-forward")
    platform.start()
    yield platform, platform.address(platform.stable())
    platform.stop()


def threads():
    """Those of tunnels, and of the streams inside them."""
    names = ("canary-tunnel", "Kubernetes port forward")
    return [thread for thread in threading.enumerate() if thread.name.startswith(names)]


def test_a_stream_arrives_piece_by_piece(cluster, namespace, tmp_path):
    """The time to the first token is measured through it."""
    there = Place(cluster, install(cluster, namespace, "inference-gateway:v1", replicas=1))
    platform = there.platform(there.shared(tmp_path), reach="port-forward")
    body = {"messages": [{"role": "user", "content": "The capital of France?"}], "stream": True}
    address = platform.address(platform.stable())
    with httpx.stream("POST", f"{address}/v1/chat/completions", json=body, timeout=10) as answer:
        pieces = [(time.monotonic(), piece) for piece in answer.iter_raw()]
    platform.stop()

    assert b"".join(piece for _, piece in pieces).rstrip().endswith(b"data: [DONE]")
    assert len(pieces) > 3
    assert pieces[-1][0] - pieces[0][0] > 0.005


def test_many_requests_at_once_are_all_answered(tunnelled):
    """Smoke and warm-up ask in parallel, and each connection ends in a pod, in turn."""
    served, failed = set(), []

    def ask():
        try:
            served.add(httpx.get(f"{tunnelled[1]}/", timeout=15).json()["hostname"])
        except httpx.HTTPError as error:
            failed.append(error)

    asking = [threading.Thread(target=ask) for _ in range(16)]
    for thread in asking:
        thread.start()
    for thread in asking:
        thread.join()

    assert failed == []
    assert len(served) == 2


def test_closing_leaves_no_thread_and_no_port(tunnelled):
    """In the middle of an answer too."""
    platform, address = tunnelled
    port = httpx.URL(address).port
    ended = []

    def wait():
        with pytest.raises(httpx.HTTPError):
            httpx.get(f"{address}/delay/20", timeout=30)
        ended.append(time.monotonic())

    waiting = threading.Thread(target=wait)
    waiting.start()
    until(lambda: len(threads()) >= 3)
    began = time.monotonic()
    platform.stop()
    waiting.join(5)
    until(lambda: not threads(), 5)

    assert ended[0] - began < 3
    assert not answers("127.0.0.1", port)


def test_the_way_is_chosen_by_what_works_from_here(place, tmp_path, tunnelled):
    """And the target may say which."""
    chosen = place.platform(place.shared(tmp_path))
    direct = place.platform(place.shared(tmp_path), reach="direct")
    address = place.get("service", place.name)["spec"]["clusterIP"]

    assert chosen.address(chosen.stable()) == direct.address(direct.stable()) == f"http://{address}:80"
    assert tunnelled[1].startswith("http://127.0.0.1:")
    chosen.stop()
    direct.stop()


@pytest.mark.parametrize("reach", ["direct", "port-forward"])
def test_each_pod_is_reached_by_itself(place, tmp_path, reach):
    """A source without a Prometheus asks them one by one, and calls them as the platform does."""
    shared = place.shared(tmp_path)
    platform, router = place.platform(shared, reach=reach), place.router(shared)
    source = ScrapeMetrics.connect(ScrapeMetrics.Options(profile="podinfo"), shared)
    platform.start()
    try:
        stable = platform.stable()
        router.attach(Role.BASELINE, stable, platform.address(stable))
        where = shared.replicas[Role.BASELINE].where(None)
        served = {name: httpx.get(f"{url}/", timeout=15).json()["hostname"] for name, url in where.items()}
        names = platform.copies(stable)
        polled = source.poll([Role.BASELINE])[Role.BASELINE]
    finally:
        source.stop()
        platform.stop()

    assert served == {name: name for name in names}
    assert (len(polled.replicas), polled.replicas.keys()) == (2, served.keys())
    assert sum(one.counters["requests"] for one in polled.replicas.values()) == polled.counters["requests"] >= 2
    assert shared.handles["replicas"] == {}
    until(lambda: not threads(), 5)


def test_a_service_without_an_address_is_reached_by_a_tunnel(place, tmp_path):
    """A headless one; and where only the direct way is allowed, one line says what to write."""
    port = {"name": "http", "port": 80, "targetPort": "http"}
    spec = {"clusterIP": "None", "selector": {"app": place.name}, "ports": [port]}
    about = {"name": "headless", "namespace": place.namespace}
    place.cluster.apply({"apiVersion": "v1", "kind": "Service", "metadata": about, "spec": spec})
    platform = place.platform(place.shared(tmp_path), service="headless")
    strict = place.platform(place.shared(tmp_path), service="headless", reach="direct")
    try:
        assert httpx.get(platform.address(platform.stable()), timeout=10).json()["version"] in STABLE
        with pytest.raises(AdapterError) as error:
            strict.address(strict.stable())
        assert one_line(error.value, "Service headless has no address of its own", "`reach: port-forward`")
    finally:
        platform.stop()
        strict.stop()
        place.kubectl("delete", "service", "headless", "--wait=false")


def test_a_tunnel_to_nobody_closes_at_once(place, tmp_path):
    """A probe does not wait for a pod that is not there."""
    port = {"name": "http", "port": 80, "targetPort": "http"}
    spec = {"selector": {"app": "nobody"}, "ports": [port]}
    about = {"name": "empty", "namespace": place.namespace}
    place.cluster.apply({"apiVersion": "v1", "kind": "Service", "metadata": about, "spec": spec})
    platform = place.platform(place.shared(tmp_path), service="empty", reach="port-forward")
    try:
        began = time.monotonic()
        with pytest.raises(httpx.HTTPError):
            httpx.get(platform.address(platform.stable()), timeout=10)
        assert time.monotonic() - began < 3
    finally:
        platform.stop()
        place.kubectl("delete", "service", "empty", "--wait=false")


@pytest.mark.parametrize("length", [4, 46, 47, 50, 57, 58, 60, 200])
def test_the_pods_of_a_deployment_are_known_by_their_names(length):
    """The API server cuts long names, and a metric source knows pods by nothing else."""
    name = ("shop-" * 50)[: length - 1] + "x"
    pods = [f"{f'{name}-{mark}-'[:58]}abcde" for mark in ("7d9c8b5f64", "7d9c8b5f6")]
    pattern = pods_of(name)

    assert all(re.fullmatch(pattern, pod) for pod in pods)
    assert not re.fullmatch(pattern, f"other-{name}"[:52] + "-7d9c8-abcde")
