"""What pods say: hurt, and what is only the way of the world."""

from __future__ import annotations

from contextlib import suppress

import httpx
import pytest

from pytest_canary.adapters.kubernetes.pods import hurt
from tests.kubernetes.place import until


def pod(*, ready=True, restarts=0, since="10:00", ended=None, deleted=False, name="shop-1"):
    """As the API server has it."""
    status = {"name": "shop", "restartCount": restarts, "ready": ready, "lastState": {"terminated": ended or {}}}
    condition = {"type": "Ready", "status": str(ready), "lastTransitionTime": since, "message": "probe failed"}
    about = {"name": name, **({"deletionTimestamp": "now"} if deleted else {})}
    return {"metadata": about, "status": {"conditions": [condition], "containerStatuses": [status]}}


OOM = {"reason": "OOMKilled", "exitCode": 137}


@pytest.mark.parametrize(
    ("now", "said"),
    [
        (pod(), ""),
        (pod(restarts=1, ended=OOM), "pod shop-1 was restarted: OOMKilled, exit status 137"),
        (pod(restarts=1, ready=False), "pod shop-1 was restarted: nobody says why"),
        (pod(ready=False), "pod shop-1 is not ready any more: probe failed"),
        (pod(since="10:07"), "pod shop-1 was not ready for a while, until 10:07"),
        (pod(ready=False, deleted=True), ""),
        (pod(name="shop-2", ready=False), ""),
        (pod(name="shop-2", restarts=3), ""),
    ],
    ids=["well", "memory", "restarted", "unready", "flapped", "scaled down", "coming up", "restarted before"],
)
def test_what_has_happened_to_pods_that_were_ready(now, said):
    """Named by pod; who goes on purpose, or comes, is not hurt."""
    known = {}
    assert hurt([pod()], known) == ""

    assert hurt([now], known) == said


@pytest.fixture
def canary(place, tmp_path):
    """Two pods that are ready, and were seen so."""
    platform = place.platform(place.shared(tmp_path))
    platform.start()
    revision = place.deployed(platform)
    assert platform.hurt(revision) == ""
    yield platform, revision
    place.clear()
    platform.stop()


def test_a_container_that_ends_is_named_within_seconds(place, canary):
    """Whatever the probes say meanwhile."""
    platform, revision = canary
    name, address = place.pods()[0]["metadata"]["name"], place.pods()[0]["status"]["podIP"]
    with suppress(httpx.HTTPError):  # podinfo ends when it is asked to, and does not answer
        httpx.get(f"http://{address}:9898/panic", timeout=2)

    assert until(lambda: platform.hurt(revision)).startswith((f"pod {name} was restarted: ", f"pod {name} is not"))
    until(lambda: "was restarted: " in platform.hurt(revision), 15)


def test_pods_that_are_scaled_away_are_not_hurt(place, canary):
    """Nor those that come."""
    platform, revision = canary
    platform.scale(revision, 3)
    until(lambda: platform.ready(revision).ready)
    assert platform.hurt(revision) == ""
    platform.scale(revision, 1)
    said = set()

    def one_left():
        said.add(platform.hurt(revision))
        return len(place.pods()) == 1

    until(one_left)
    assert said == {""}


def test_a_pod_that_says_it_is_not_ready_is_named(place, canary):
    """One of two, so users still get answers, and half of them wait."""
    platform, revision = canary
    pods = {one["metadata"]["name"]: one["status"]["podIP"] for one in place.pods()}
    name, address = next(iter(pods.items()))
    httpx.post(f"http://{address}:9898/readyz/disable", timeout=5)
    said = until(lambda: platform.hurt(revision))

    assert said.startswith(f"pod {name} is not ready any more: ")
