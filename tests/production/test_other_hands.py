"""Somebody else changes things in the middle of a rollout: users are sent to whoever answers, and it is said."""

from __future__ import annotations

import json
import time

import pytest

from tests.production.shop import Shop

SLOW = {"hold": "40s", "deadline": "60s"}


@pytest.fixture
def by_hand(shop):
    """``kubectl`` in the namespace of the service."""
    return lambda *words: shop.cluster.kubectl("-n", shop.namespace, *words)


def served(shop):
    """Service -> share of the weights, those with none left out."""
    return {name: weight for name, weight in shop.weights.items() if weight}


def test_a_stable_deployment_scaled_to_nothing_leaves_its_users_to_the_canary(shop, by_hand):
    """Exit status 70, and once it is back `recover` returns to it."""
    with shop.users():
        process = shop.start("v2", **SLOW)
        shop.site.wait_for("ramp[20%]", process)
        by_hand("scale", "deployment/inference-gateway", "--replicas=0")
        ended = shop.site.ended(process)
        assert ended.exit == 70, ended.out
        assert "Deployment inference-gateway is scaled to 0 pods" in ended.out
        assert "--replicas=N` brings it back" in ended.out
        assert served(shop).keys() == {"inference-gateway-canary"}, shop.weights
        with shop.users() as others:
            time.sleep(3)
        by_hand("scale", "deployment/inference-gateway", "--replicas=2")
        by_hand("rollout", "status", "deployment/inference-gateway")
        status, said = shop.canary("recover")
    users = others()

    assert users.sent > 50, users
    assert users.dropped == 0, users
    assert status == 0, said
    assert shop.stable == "v1"
    assert shop.whole()


def test_a_canary_that_somebody_deletes_is_named_and_its_share_goes_back(shop, by_hand):
    """Within seconds: nobody has to wait for the metrics to run dry."""
    with shop.users():
        process = shop.start("v2", **SLOW)
        shop.site.wait_for("ramp[20%]", process)
        by_hand("delete", "deployment/inference-gateway-canary")
        shop.until(lambda: served(shop).keys() == {"inference-gateway"}, 8)
        ended = shop.site.ended(process)

    assert ended.exit == 1, ended.out
    assert "Deployment inference-gateway-canary is gone; somebody deleted it" in ended.out
    assert shop.stable == "v1"
    assert shop.whole()


def test_a_canary_that_somebody_deletes_while_the_traffic_returns(shop, by_hand):
    """The new pods of the stable Deployment have all users then, and the old build is put back beneath them."""
    with shop.users():
        process = shop.start("v2", hold="4s", bake="60s")
        shop.site.wait_for("ramp[stable 20%]", process)
        by_hand("delete", "deployment/inference-gateway-canary")
        ended = shop.site.ended(process)

    assert ended.exit == 1, ended.out
    assert "Deployment inference-gateway-canary is gone; somebody deleted it" in ended.out
    assert shop.stable == "v1"
    assert shop.whole()


def test_a_stable_deployment_scaled_to_nothing_while_the_traffic_returns(shop, by_hand):
    """The proven canary has all users, until the stable Deployment has pods again and somebody looks."""
    with shop.users():
        process = shop.start("v2", hold="4s", bake="60s")
        shop.site.wait_for("ramp[stable 20%]", process)
        by_hand("scale", "deployment/inference-gateway", "--replicas=0")
        ended = shop.site.ended(process)
        assert ended.exit == 70, ended.out
        assert served(shop).keys() == {"inference-gateway-canary"}, shop.weights
        by_hand("scale", "deployment/inference-gateway", "--replicas=2")
        status, said = shop.canary("recover")

    assert status == 0, said
    assert shop.stable == "v1"
    assert shop.whole()


def test_what_somebody_else_lets_the_stable_deployment_run_is_not_promoted(shop, by_hand):
    """Nobody has seen it serve: the proven canary keeps the traffic, and their choice is theirs to undo or take."""
    with shop.users():
        process = shop.start("v2", hold="4s", bake="60s")
        shop.site.wait_for("ramp[stable 20%]", process)
        by_hand("set", "image", "deployment/inference-gateway", f"*={shop.cluster.registry}/inference-gateway:v2-slow")
        ended = shop.site.ended(process)
        assert ended.exit == 70, ended.out
        assert "somebody else has changed it" in ended.out
        assert served(shop).keys() == {"inference-gateway-canary"}
        status, said = shop.canary("recover")

    assert status == 0, said
    assert "100 % on" in said
    assert "v2-slow" in said
    assert shop.stable == "v2-slow"
    assert shop.whole()


def test_a_promotion_that_somebody_undoes_ends_with_what_they_went_back_to(shop, by_hand):
    """That is what was stable before, and is seen to serve before the canary goes."""
    with shop.users():
        process = shop.start("v2", hold="4s", bake="60s")
        shop.site.wait_for("ramp[stable 20%]", process)
        by_hand("rollout", "undo", "deployment/inference-gateway")
        ended = shop.site.ended(process)

    assert ended.exit == 1, ended.out
    assert "somebody else has changed it" in ended.out
    assert shop.stable == "v1"
    assert shop.whole()


def test_a_run_after_the_lease_was_deleted_puts_right_what_the_dead_one_left(shop, by_hand):
    """A promotion that was half done is no stable build."""
    with shop.users():
        process = shop.start("v2", "--canary-set", "router.gateway-api.guard=false", hold="4s", bake="60s")
        shop.site.wait_for("ramp[stable 20%]", process)
        shop.kill(process)
        by_hand("delete", "leases", "--all")
        again = shop.run("v2-errors", site=shop.checkout(shop.site.folder / "there"))

    assert again.exit == 1, again.out
    assert "that nobody knows of had not ended" in again.out
    assert shop.stable == "v1"
    assert list(shop.weights) == ["inference-gateway"]
    assert shop.left == []


def test_a_control_is_a_copy_of_the_stable_build_in_the_cluster_too(shop):
    """As many new pods as the canary has, compared with it, and gone at the end."""
    with shop.users() as seen:
        good = shop.run("v2", control="true", hold="4s")
        bad = shop.run("v2-errors", control="true", hold="10s")
    users = seen()

    assert (good.exit, bad.exit) == (0, 1), good.out + bad.out
    assert "control " in good.out
    assert shop.stable == "v2"
    assert shop.whole()
    assert users.dropped == 0, users


def test_a_route_that_somebody_deletes_is_named_within_seconds(shop, by_hand):
    """Nobody gets through any more; once it is applied again `recover` does the rest."""
    route = by_hand("get", "httproute", "inference-gateway", "-o", "json")
    with shop.users():
        process = shop.start("v2", **SLOW)
        shop.site.wait_for("ramp[20%]", process)
        by_hand("delete", "httproute", "inference-gateway")
        began = time.monotonic()
        ended = shop.site.ended(process)
        told = json.loads(route)
        about = {key: told["metadata"][key] for key in ("name", "namespace")}
        again = {**{key: told[key] for key in ("apiVersion", "kind", "spec")}, "metadata": about}
        shop.cluster.kubectl("apply", "-f", "-", stdin=json.dumps(again))
        status, said = shop.canary("recover")

    assert ended.exit == 70, ended.out
    assert "HTTPRoute inference-gateway" in ended.out
    assert time.monotonic() - began < 90
    assert status == 0, said
    assert shop.stable == "v1"
    assert shop.whole()


def test_a_deployment_that_somebody_pauses_in_a_promotion_is_named_at_once(shop, by_hand):
    """Its pods would never be replaced, however long one waited."""
    with shop.users() as seen:
        process = shop.start("v2", hold="6s", bake="0s")
        shop.site.wait_for("ramp[100%]", process)
        by_hand("rollout", "pause", "deployment/inference-gateway")
        ended = shop.site.ended(process)
        by_hand("rollout", "resume", "deployment/inference-gateway")
    users = seen()

    assert ended.exit == 1, ended.out
    assert "somebody has paused Deployment inference-gateway" in ended.out
    assert "rollout resume deployment/inference-gateway" in ended.out
    assert shop.stable == "v1"
    assert shop.whole()
    assert users.dropped == 0, users


def test_the_only_pod_of_the_stable_build_may_be_replaced_in_a_stage(cluster, tmp_path):
    """An eviction is not the canary's fault, and says nothing of the split."""
    with Shop.opened(cluster, tmp_path, replicas=1) as shop, shop.users():
        process = shop.start("v2", hold="12s")
        shop.site.wait_for("ramp[20%]", process)
        words = ("-n", shop.namespace, "delete", "pod", "-l", "app=inference-gateway", "--wait=false")
        cluster.kubectl(*words)
        ended = shop.site.ended(process)

        assert ended.exit == 0, ended.out
        assert shop.stable == "v2"
        assert shop.whole()
