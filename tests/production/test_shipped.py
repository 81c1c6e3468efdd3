"""The example's production target on a real cluster: its users are outside, and nobody of them may notice."""

from __future__ import annotations

import json

import pytest

from tests.production.shop import ROOT, Shop

DEFECTS = {
    "v2-errors": ("error_rate", "gate"),
    "v2-slow": ("ttft_p99", "gate"),
    "v2-lies": ("", "smoke"),
    "v2-hangs": ("", "deploy"),
    "v2-crash": ("", "gate"),
}
"""Build -> the gate that convicts it, and the phase in which it ends."""


def convicted(run):
    """Gates that spoke against the build."""
    return {verdict["gate"] for verdict in run.report["verdicts"] if verdict["status"] == "fail"}


def test_a_good_build_is_promoted_and_the_stable_deployment_runs_it(shop):
    """The same rollout.yaml as on one machine; what is left is the stable Deployment with another image."""
    before = shop.route
    with shop.users() as seen:
        run = shop.run("v2")
    users = seen()

    assert run.exit == 0, run.out
    assert run.report["end"] == "promoted"
    assert shop.stable == "v2"
    assert shop.whole()
    assert shop.route == before
    assert users.dropped == 0, users
    assert users.answered > 500
    stages = [name for name in run.rows if name.startswith("ramp[")]
    assert stages == ["ramp[20%]", "ramp[100%]", "ramp[stable 20%]", "ramp[stable 100%]"]


def test_what_is_stable_already_is_not_shipped_again(shop):
    """The digest that the pods run is the digest of the tag."""
    with shop.users():
        run = shop.run("v1")

    assert run.exit == 0, run.out
    assert run.report["end"] == "already stable"
    assert shop.whole()


@pytest.mark.parametrize("build", DEFECTS)
def test_a_bad_build_is_caught_and_leaves_nothing(shop, build):
    """By its gate, or before any user meets it."""
    gate, phase = DEFECTS[build]
    with shop.users() as seen:
        run = shop.run(build, hold="60s", ready_timeout="8s")
    users = seen()

    assert run.exit == 1, run.out
    assert "Traceback" not in run.out
    assert run.report["end"] == ("rolled back" if phase == "gate" else "not started"), run.out
    assert shop.stable == "v1"
    assert shop.whole()
    assert users.dropped == 0 or build == "v2-crash", users  # that one takes some with it
    if gate:
        assert gate in convicted(run), run.out
    elif phase != "gate":
        assert run.rows[phase] == "failure", run.out


def test_a_rebuilt_stable_that_is_worse_than_the_canary_was_goes_back_to_the_old_build(shop):
    """Promotion is a shift like any other: here somebody changes the Deployment while its pods are replaced."""
    name = shop.service.name
    patch = [{"op": "add", "path": "/spec/template/spec/containers/0/args", "value": ["--build", "v2-errors"]}]
    with shop.users() as seen:
        process = shop.start("v2", bake="60s", stages="20,100", hold="8s")
        said = shop.site.wait_for("rebuild stable", process)
        shop.cluster.kubectl("-n", shop.namespace, "patch", "deployment", name, "--type=json", "-p", json.dumps(patch))
        run = shop.site.ended(process)
    users = seen()

    assert run.exit == 1, said + run.out
    assert run.report["end"] == "rolled back"
    assert run.report["why"].startswith("promotion: ")
    assert run.rows["restore stable"] == "passed"
    assert shop.stable == "v1"
    assert shop.whole()
    assert users.dropped == 0, users


@pytest.mark.parametrize(("args", "exit_code", "gate"), [("[]", 0, ""), ("[--random-error]", 1, "error_rate")])
def test_a_server_that_knows_nothing_of_us_is_shipped_by_its_rollout_yaml(cluster, tmp_path, args, exit_code, gate):
    """podinfo, by its own metrics; bad by its own flag."""
    rollouts = ROOT / "tests" / "resources" / "cluster"
    made = Shop.opened(cluster, tmp_path, "podinfo:6.9.0", rollouts, port=9898, ready="/readyz")
    with made as shop:
        run = shop.site.run(build="6.9.1", quick=False, **{"canary.args": args, **({"hold": "60s"} if gate else {})})

        assert run.exit == exit_code, run.out
        assert run.report["users"]["dropped"] == 0
        assert shop.stable == ("6.9.1" if not gate else "6.9.0")
        assert shop.whole()
        # Its flag makes every kind of request fail, those of smoke and of the readiness probe among them.
        otherwise = run.rows["smoke"] == "failure" or "was not ready" in run.report["why"]
        assert not gate or gate in convicted(run) or otherwise, run.out
