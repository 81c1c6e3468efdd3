"""HTTP/2 and gRPC: one connection carries calls to both builds, and streams outlive every shift."""

from __future__ import annotations

import json

import pytest

from tests.cluster.console import wait
from tests.production.calls import Calls
from tests.production.shop import Shop
from tests.production.test_shipped import ROOT

PORT = 9999
SLOW = "[--random-delay, --random-delay-min, 20, --random-delay-max, 60, --random-delay-unit, ms]"


@pytest.fixture
def shop(cluster, tmp_path):
    """Somebody's server, its gRPC behind a second rule of the route and on a second port of the same Service."""
    rollouts = ROOT / "tests" / "resources" / "cluster"
    with Shop.opened(cluster, tmp_path, "podinfo:6.9.0", rollouts, port=9898, ready="/readyz") as made:

        def patch(kind, *operations):
            cluster.kubectl("-n", made.namespace, "patch", kind, "podinfo", "--type=json", "-p", json.dumps(operations))

        def add(path, value):
            return {"op": "add", "path": path, "value": value}

        port = {"name": "grpc", "port": PORT, "targetPort": PORT, "appProtocol": "kubernetes.io/h2c"}
        rule = {
            "matches": [{"path": {"type": "PathPrefix", "value": "/grpc.health.v1.Health"}}],
            "backendRefs": [{"name": "podinfo", "port": PORT}],
        }
        patch("deployment", add("/spec/template/spec/containers/0/args", [f"--grpc-port={PORT}"]))
        patch("service", add("/spec/ports/-", port))
        patch("httproute", add("/spec/rules/-", rule))
        cluster.kubectl("-n", made.namespace, "rollout", "status", "deployment/podinfo")
        yield made


def test_grpc_calls_and_streams_live_through_a_promotion_and_a_rollback(shop):
    """Nobody is dropped by a shift, a drain or the end of a pod, whatever the protocol."""
    calls = Calls(shop.cluster.gateway, shop.service.host)
    wait("the first gRPC call", calls.ready, 30, 0.3)
    with calls.going_on():
        good = shop.site.run(build="6.9.1", quick=False, **{"canary.args": "[]"})
        bad = shop.site.run(build="6.9.0", quick=False, **{"canary.args": SLOW, "hold": "60s"})

    assert good.exit == 0, good.out
    assert bad.exit == 1, bad.out
    assert shop.stable == "6.9.1"
    assert shop.left == []
    assert not calls.failed, calls.failed
    assert calls.answered > 500
    assert calls.streams > 20
