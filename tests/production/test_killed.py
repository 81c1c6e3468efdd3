"""A production run that dies at one of its writes is put right, by its guard or from another machine."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.production.killed import AT_ONCE, ELSEWHERE, GUARD, Death, die, right

DEATHS = (
    Death("POST deployments#1", "after", GUARD),
    Death("POST jobs#1", "before", ELSEWHERE),
    Death("PATCH httproutes#2", "before", GUARD),
    Death("PATCH httproutes#2", "after", ELSEWHERE),
    Death("PATCH httproutes#3", "after", GUARD),
    Death("PUT deployments#1", "before", ELSEWHERE),
    Death("PUT deployments#1", "after", GUARD),
    Death("PATCH httproutes#4", "after", ELSEWHERE),
    Death("PATCH httproutes#5", "after", GUARD),
    Death("PATCH leases#14", "after", ELSEWHERE),
    Death("PATCH httproutes#6", "after", GUARD),
    Death("DELETE services#1", "after", ELSEWHERE),
)


@pytest.fixture(scope="module")
def ended(cluster, tmp_path_factory, request):
    """Every death that is asked for, two at once."""
    folder = tmp_path_factory.mktemp("killed")
    asked = [item.callspec.params.get("death") for item in request.session.items if hasattr(item, "callspec")]
    pool = ThreadPoolExecutor(AT_ONCE)
    yield {death: pool.submit(die, cluster, death, folder / str(n)) for n, death in enumerate(DEATHS) if death in asked}
    pool.shutdown(cancel_futures=True)


@pytest.mark.parametrize("death", DEATHS, ids=str)
def test_a_run_that_dies_at_a_write_ends_in_a_known_good_state(death, ended):
    """The stable build has all traffic, nobody's request was dropped, and nothing of the rollout is left."""
    found = ended[death].result()

    assert right(death, found), found


def test_a_run_whose_facts_are_lost_is_put_right_by_what_runs(shop):
    """The Lease is gone, the canary has half of the traffic, and nobody is told that all is well."""
    with shop.users() as seen:
        process = shop.start("v2", stages="50,100", hold="60s")
        said = shop.site.wait_for("ramp[50%]", process)
        shop.kill(process)
        shop.cluster.kubectl("-n", shop.namespace, "delete", "lease", f"pytest-canary-{shop.service.name}")
        status, told = shop.canary("recover", site=shop.checkout(shop.site.folder / "elsewhere"))
    users = seen()

    assert status == 0, said + told
    assert "no fact tells of" in told
    assert list(shop.weights) == [shop.service.name]
    assert shop.weights[shop.service.name] > 0
    assert shop.left == []
    assert shop.stable == "v1"
    assert users.dropped == 0, users
