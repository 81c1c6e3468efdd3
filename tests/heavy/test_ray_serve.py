"""Ray Serve: a build is an application on a Ray of its own, and counts at another port than it serves."""

import pytest

from tests.heavy.shipped import Shipped, assert_ended_as, world

pytestmark = pytest.mark.heavy

ALL = (
    Shipped("v1-again"),
    Shipped("v2-errors", gates=("error_rate",)),
    Shipped("v2-slow", gates=("latency_p95",)),
    Shipped("v2-strict", gates=("client_error_rate",)),
    Shipped("v2"),
)


@pytest.fixture(scope="module")
def ray(tmp_path_factory):
    """One stable Ray for all rollouts."""
    with world(tmp_path_factory.mktemp("ray"), "ray-serve", "shop") as served:
        yield served


@pytest.mark.parametrize("one", ALL, ids=str)
def test_ray_serve_is_shipped_by_its_rollout_yaml_and_judged_by_what_its_proxies_count(one, ray):
    """Its numbers come late and from somewhere else than its answers."""
    assert_ended_as(one, ray.ship(one))
