"""The guard inside the cluster: there before the first weight, gone after the last, and awake in between."""

from __future__ import annotations

import json
import time
from contextlib import suppress
from datetime import UTC, datetime

import pytest

from pytest_canary.adapters.gateway_api import standing
from pytest_canary.adapters.gateway_api.lookout import POSTED
from pytest_canary.adapters.gateway_api.standing import FACTS, NAME, promoted, safe
from pytest_canary.adapters.kube import lease_name
from pytest_canary.errors import AdapterError
from pytest_canary.ports import Role
from tests.cluster.console import Broken
from tests.kubernetes.place import attached, one_line, until

SILENT_SECONDS = 2


@pytest.fixture
def guard(place):
    """What a target says, where the image of Python is our registry's."""
    return {"image": place.image("python:3")}


@pytest.fixture
def world(place, tmp_path):
    """A canary beside the stable build, and a Lease that nobody renews."""
    shared = place.shared(tmp_path)
    platform = place.platform(shared)
    platform.start()
    canary = place.deployed(platform)
    with place.as_it_was("httproute", "deployment"):
        yield platform, canary, shared
    place.clear()
    platform.stop()


def held(place, holder="run-1 far/away/1 1 1", seconds=SILENT_SECONDS):
    """A Lease, renewed now."""
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    spec = {"holderIdentity": holder, "leaseDurationSeconds": seconds, "renewTime": now}
    about = {"name": lease_name(place.name), "namespace": place.namespace}
    lease = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": about, "spec": spec}
    place.kubectl("apply", "--server-side", "--force-conflicts", "-f", "-", stdin=json.dumps(lease))


def holder(place):
    """Whom the Lease names."""
    return place.get("lease", lease_name(place.name))["spec"].get("holderIdentity")


def names(place):
    """Everything of a guard that is there."""
    kinds = "jobs,serviceaccounts,roles,rolebindings"
    return place.kubectl("get", kinds, "-l", "pytest-canary/rollout", "-o", "name").split()


def test_it_runs_before_the_first_weight_and_leaves_nothing(place, world, guard):
    """An account, a Role, a binding and a Job, for the time of a rollout."""
    platform, canary, shared = world
    router = place.router(shared, guard=guard)
    held(place, seconds=600)
    attached(router, platform, canary)
    posted = names(place)
    router.set_weights({Role.BASELINE: 0.9, Role.CANARY: 0.1})
    named = [fact.data for fact in place.facts if fact.kind == POSTED]
    phases = [pod["status"]["phase"] for pod in place.get("pods", "-l", "job-name")["items"]]
    router.set_weights({Role.BASELINE: 1.0})
    router.detach(Role.CANARY)
    router.detach(Role.CANARY)

    assert len(posted) == 4
    assert [fact["namespace"] for fact in named] == [place.namespace]
    assert f"job.batch/{named[0]['job']}" in posted
    assert phases == ["Running"]
    assert names(place) == []


def test_a_lost_run_gives_all_traffic_back_and_is_told(place, world, guard):
    """Whoever wakes up after that finds another holder."""
    platform, canary, shared = world
    router = place.router(shared, guard=guard)
    held(place, seconds=600)
    attached(router, platform, canary)
    router.set_weights({Role.BASELINE: 0.5, Role.CANARY: 0.5})
    held(place)
    began = time.monotonic()
    until(lambda: place.weights() == {place.name: 100, f"{place.name}-canary": 0})

    assert time.monotonic() - began < SILENT_SECONDS + 6
    assert holder(place) == NAME


def test_a_run_that_renews_is_left_alone_and_a_new_one_is_watched(place, world, guard):
    """The guard outlives the run that it was posted for, until somebody settles the rollout."""
    platform, canary, shared = world
    router = place.router(shared, guard=guard)
    held(place, seconds=600)
    attached(router, platform, canary)
    router.set_weights({Role.CANARY: 1.0})
    end = time.monotonic() + 4
    while time.monotonic() < end:
        held(place)
        time.sleep(0.3)
    assert place.weights() == {place.name: 0, f"{place.name}-canary": 100}
    until(lambda: holder(place) == NAME)
    until(lambda: place.weights() == {place.name: 100, f"{place.name}-canary": 0})
    held(place, "run-2 far/away/1 2 2", seconds=600)
    time.sleep(2)
    assert holder(place).startswith("run-2 ")
    place.kubectl("delete", "lease", lease_name(place.name))
    until(lambda: place.get("jobs")["items"][0]["status"].get("succeeded") == 1)


def test_in_the_middle_of_a_promotion_the_proven_build_is_the_safe_one(place, world, guard):
    """The pods of the stable Deployment are new then, and nobody has seen them serve."""
    platform, canary, shared = world
    router = place.router(shared, guard=guard)
    held(place, seconds=600)
    attached(router, platform, canary)
    router.set_weights({Role.CANARY: 1.0})
    platform.promote(canary)
    router.set_weights({Role.BASELINE: 0.5, Role.CANARY: 0.5})
    held(place)
    until(lambda: holder(place) == NAME)

    until(lambda: place.weights() == {place.name: 0, f"{place.name}-canary": 100})


def test_users_are_left_with_whoever_answers_until_the_stable_build_does(place, world, guard):
    """Somebody has scaled it to nothing, and nobody is there to say so."""
    platform, canary, shared = world
    router = place.router(shared, guard=guard)
    held(place, seconds=600)
    attached(router, platform, canary)
    router.set_weights({Role.BASELINE: 0.9, Role.CANARY: 0.1})
    place.kubectl("scale", f"deployment/{place.name}", "--replicas=0")
    held(place)
    until(lambda: place.weights() == {place.name: 0, f"{place.name}-canary": 100})
    place.kubectl("scale", f"deployment/{place.name}", "--replicas=1")

    until(lambda: place.weights() == {place.name: 100, f"{place.name}-canary": 0})


@pytest.mark.parametrize(
    ("image", "noted", "good"),
    [
        ("shop:1", "[]", "shop"),
        ("shop:2", "[]", "shop-canary"),
        ("shop:3", "[]", "shop"),
        ("shop:3", '[{"kind": "promoting"}]', "shop-canary"),
        ("shop:1", '[{"kind": "promoting"}]', "shop"),
    ],
)
def test_where_the_traffic_belongs_goes_by_what_stands_in_the_stable_place(monkeypatch, image, noted, good):
    """Before a promotion there, in the middle of one with the canary, whatever somebody else has put there."""
    before = {"name": "shop", "image": "shop:1", "env": None, "args": None}
    told = {
        "namespace": "shop", "service": "shop", "canary_service": "shop-canary", "stable": "shop",
        "canary": "shop-canary", "container": "shop", "original": before, "promoted": {**before, "image": "shop:2"},
    }  # fmt: skip
    serving = {"spec": {"replicas": 1}, "status": {"readyReplicas": 1}}
    there = {"shop": {"name": "shop", "image": image}, "shop-canary": {"name": "shop", "image": "shop:2"}}

    def deployment(_, path):
        template = {"spec": {"containers": [there[path.rpartition("/")[2]]]}}
        return {**serving, "spec": {**serving["spec"], "template": template}}

    monkeypatch.setattr(standing, "call", deployment)

    assert safe(told, {"metadata": {"annotations": {FACTS: noted}}}) == (good, True)


def test_what_others_change_of_the_stable_build_is_no_promotion():
    """A canary of 5 % must not get everything because somebody has set a variable meanwhile."""
    before = {"name": "shop", "image": "shop:1", "env": None, "args": None}
    told = {"container": "shop", "original": before, "promoted": {**before, "image": "shop:2@sha256:2"}}

    assert not promoted(told, [before])
    assert not promoted(told, [{**before, "env": [{"name": "A", "value": "1"}]}])
    assert not promoted(told, [{**before, "image": "shop:1.1"}])
    assert promoted(told, [{"name": "sidecar", "image": "mesh:1"}, {"name": "shop", "image": "shop:2@sha256:2"}])
    assert not promoted({**told, "promoted": None}, [before])
    assert not promoted({**told, "promoted": before}, [before])


def test_its_account_may_do_nothing_else(place, world, guard):
    """One route, one Lease, and two Deployments to look at."""
    platform, canary, shared = world
    router = place.router(shared, guard=guard)
    held(place, seconds=600)
    attached(router, platform, canary)
    account = next(name for name in names(place) if name.startswith("serviceaccount/")).partition("/")[2]

    def may(*words):
        with suppress(Broken):
            return place.kubectl("auth", "can-i", *words, f"--as=system:serviceaccount:{place.namespace}:{account}")
        return "no"

    allowed = [
        ("patch", f"httproutes.gateway.networking.k8s.io/{place.name}"),
        ("patch", f"leases/{lease_name(place.name)}"),
        ("get", f"deployments.apps/{place.name}"),
    ]
    refused = [
        ("patch", "httproutes.gateway.networking.k8s.io/other"),
        ("delete", f"httproutes.gateway.networking.k8s.io/{place.name}"),
        ("create", "leases"),
        ("patch", f"deployments.apps/{place.name}"),
        ("get", "secrets"),
        ("list", "pods"),
        ("create", "pods"),
    ]
    assert [may(*words).strip() for words in allowed] == ["yes"] * 3
    assert [may(*words).strip() for words in refused] == ["no"] * len(refused)


def test_without_a_guard_nothing_is_posted(place, world):
    """`guard: false`."""
    platform, canary, shared = world
    router = place.router(shared, guard=False)
    attached(router, platform, canary)
    router.set_weights({Role.BASELINE: 0.9, Role.CANARY: 0.1})

    assert names(place) == []


def test_a_guard_that_cannot_start_keeps_all_traffic_where_it_is(place, world):
    """One line, with both ways on; and it is taken away with the canary."""
    platform, canary, shared = world
    router = place.router(shared, guard={"image": place.image("python:none"), "start_seconds": 3})
    attached(router, platform, canary)
    with pytest.raises(AdapterError) as error:
        router.set_weights({Role.BASELINE: 0.9, Role.CANARY: 0.1})
    weights = router.weights()
    router.detach(Role.CANARY)

    assert one_line(error.value, "python:none", "`router.gateway-api.guard.image`", "`guard: false`")
    assert weights == {Role.BASELINE: 1.0, Role.CANARY: 0.0}
    assert names(place) == []


def test_a_guard_that_no_quota_lets_in_says_so(place, world, guard):
    """The Job has no pod then, and its events know why."""
    platform, canary, shared = world
    place.kubectl("create", "quota", "small", "--hard=pods=1")
    until(lambda: place.get("quota", "small").get("status", {}).get("used"))
    try:
        router = place.router(shared, guard={**guard, "start_seconds": 3})
        attached(router, platform, canary)
        with pytest.raises(AdapterError, match=r"does not run: .*exceeded quota: small"):
            router.set_weights({Role.BASELINE: 0.9, Role.CANARY: 0.1})
    finally:
        place.kubectl("delete", "quota", "small")


def test_what_a_dead_run_left_is_made_anew(place, world, guard):
    """Its guard may speak of another build."""
    platform, canary, shared = world
    held(place, seconds=600)
    first = place.router(shared, guard=guard)
    attached(first, platform, canary)
    first.set_weights({Role.BASELINE: 0.9, Role.CANARY: 0.1})
    old = place.get("jobs")["items"][0]["metadata"]["uid"]
    shared.handles.pop("CANARY_GUARD")
    second = place.router(shared, guard=guard)
    attached(second, platform, canary)
    second.set_weights({Role.BASELINE: 0.8, Role.CANARY: 0.2})
    jobs = place.get("jobs")["items"]
    running = [pod for pod in place.get("pods", "-l", "job-name")["items"] if pod["status"]["phase"] == "Running"]

    assert [job["metadata"]["uid"] == old for job in jobs] == [False]
    assert jobs[0]["metadata"]["uid"] in json.dumps(running)
