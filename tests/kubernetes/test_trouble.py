"""Canaries that do not come up, and promotions that do not: named within seconds, with what the pods say."""

from __future__ import annotations

import time

import pytest

from pytest_canary.errors import AdapterError
from pytest_canary.ports import Change, Revision
from tests.kubernetes.place import OTHER, one_line, until


def hopeless(platform, revision, seconds=15.0):
    """Why it never comes up, and that it takes no longer than so to know."""
    began = time.monotonic()
    state = until(lambda: (now := platform.ready(revision)).hopeless and now, seconds + 5)

    assert time.monotonic() - began < seconds
    assert one_line(state.why)
    return state.why


def test_an_image_that_cannot_be_pulled(place, platform):
    """Its digest is gone from the registry, or never was there."""
    revision = Revision(place.image(OTHER), f"sha256:{'0' * 64}")
    platform.deploy(revision)

    assert "not found" in hopeless(platform, revision)


def test_a_build_that_ends_at_once(place, platform):
    """Its exit status, and the command that shows its last words."""
    revision = platform.resolve(place.image(OTHER), Change(args=("--no-such-flag",)))
    platform.deploy(revision)
    why = hopeless(platform, revision)

    assert "CrashLoopBackOff: Error, exit status 2" in why
    assert f"kubectl -n {place.namespace} logs podinfo-canary-" in why
    assert "--previous" in why


def test_a_build_that_never_gets_ready(place, platform):
    """Its probe says why; there is hope until the user's own time is over."""
    revision = platform.resolve(place.image(OTHER), Change(args=("--unready",)))
    platform.deploy(revision)
    said = until(lambda: (now := platform.ready(revision)) and "Readiness probe failed" in now.why and now)

    assert not said.ready
    assert not said.hopeless


def test_a_quota_that_has_no_room(place, platform):
    """No pod is made then, so the Deployment is asked."""
    place.kubectl("create", "quota", "full", "--hard=pods=1")
    try:
        until(lambda: place.get("quota", "full").get("status", {}).get("used"))
        revision = platform.resolve(place.image(OTHER), Change())
        platform.deploy(revision)
        why = hopeless(platform, revision)
    finally:
        place.kubectl("delete", "quota", "full")

    assert "the pods are refused: " in why
    assert "exceeded quota: full" in why


def test_a_quota_of_services_is_no_matter_of_rights(place, platform):
    """An administrator who grants more verbs would help nobody."""
    place.kubectl("create", "quota", "few", "--hard=services=1")
    try:
        until(lambda: place.get("quota", "few").get("status", {}).get("used"))
        revision = platform.resolve(place.image(OTHER), Change())
        with pytest.raises(AdapterError) as error:
            platform.deploy(revision)
        platform.remove(revision)
    finally:
        place.kubectl("delete", "quota", "few")

    assert one_line(error.value, "exceeded quota: few")
    assert "create role" not in str(error.value)
    assert place.pods() == []


def test_no_room_on_any_node(place, tmp_path):
    """One port of the one node is taken by the stable pod; after a while nobody is expected to bring another node."""
    port = {"name": "http", "containerPort": 9898, "hostPort": 30898}
    container = {"name": "ported", "image": place.image(OTHER), "ports": [port]}
    labels = {"app": "ported"}
    pods = {"metadata": {"labels": labels}, "spec": {"terminationGracePeriodSeconds": 1, "containers": [container]}}
    about = {"name": "ported", "namespace": place.namespace}
    place.cluster.apply(
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": about,
            "spec": {"selector": {"matchLabels": labels}, "template": pods},
        },
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": about,
            "spec": {"selector": labels, "ports": [{"name": "http", "port": 80, "targetPort": "http"}]},
        },
    )
    platform = place.platform(place.shared(tmp_path), deployment="ported")
    try:
        platform.start()
        revision = platform.resolve(place.image(OTHER), Change())
        platform.deploy(revision)
        early = until(lambda: (now := platform.ready(revision)) and "finds no node" in now.why and now)
        why = hopeless(platform, revision, 20)
    finally:
        place.clear()
        place.kubectl("delete", "deployment,service", "ported", "--wait=false")
        platform.stop()

    assert not early.hopeless
    assert "free ports" in why


def test_a_promotion_whose_pods_do_not_come_up(place, platform):
    """Known at once too; and the way back is not spoiled by the pods that it takes away."""
    with place.as_it_was("deployment"):
        old = platform.stable()
        canary = place.deployed(platform)
        platform.promote(Revision(canary.image, canary.digest, Change(args=("--no-such-flag",))))
        why = hopeless(platform, platform.stable())
        platform._workload.put_back(*platform._copies.original())
        said = []
        until(lambda: said.append(platform.ready(old)) or said[-1].ready)

    assert "CrashLoopBackOff" in why
    assert not any(state.hopeless for state in said[1:])


def test_a_canary_that_somebody_deletes(place, platform):
    """There is nothing to wait for."""
    canary = place.deployed(platform)
    place.kubectl("delete", "deployment", f"{place.name}-canary", "--wait=false")

    assert "is gone; somebody deleted it" in hopeless(platform, canary)


@pytest.mark.parametrize("kind", ["deployment", "service"])
def test_something_else_of_the_canarys_name(place, platform, kind):
    """It is left alone, and the user is told both ways on."""
    name = f"{place.name}-canary"
    if kind == "deployment":
        place.kubectl("create", "deployment", name, f"--image={place.image(OTHER)}", "--replicas=0")
    else:
        place.kubectl("create", "service", "clusterip", name, "--tcp=80")
    canary = platform.resolve(place.image(OTHER), Change())
    try:
        with pytest.raises(AdapterError) as error:
            platform.deploy(canary)
        platform.remove(canary)

        assert one_line(error.value, "is there already and is not ours", f"kubectl -n {place.namespace} delete {kind}")
        assert place.get(kind, name)["metadata"]["name"] == name
    finally:
        place.kubectl("delete", kind, name, "--wait=false")
