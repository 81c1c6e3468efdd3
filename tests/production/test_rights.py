"""The Roles that docs/kubernetes.md prints are enough for whole rollouts, and no more than the code asks for."""

from __future__ import annotations

import json
import re

import pytest
import yaml

from pytest_canary.adapters.gateway_api import preflight as router
from pytest_canary.adapters.kubernetes import preflight as platform
from tests.production.shop import ROOT

PAGE = (ROOT / "docs" / "kubernetes.md").read_text()
RUNNER, LEAN, GUARD = "pytest-canary", "pytest-canary-lean", "pytest-canary-guard"
NEEDED = {
    RUNNER: (platform.NEEDED, router.ROUTE, router.LEASE, router.GUARD, router.ACCOUNT),
    LEAN: (platform.NEEDED, router.ROUTE, router.LEASE, router.GUARD),
}
"""What is asked for before anything is deployed."""
DIRECT = {"platform.kubernetes.reach": "direct"}
"""On a busy machine `auto` may find a Service slow to answer, and choose what these Roles do not allow."""


def manifests():
    """Every manifest of the page, by kind and name."""
    blocks = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    found = [one for block in blocks for one in yaml.safe_load_all(block) if one and one.get("kind")]
    return {(one["kind"], one["metadata"]["name"]): one for one in found}


def rights(role):
    """(API group, resource) -> its verbs, of a Role."""
    return {
        (group, resource): set(rule["verbs"])
        for rule in manifests()["Role", role]["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
    }


def login(cluster, namespace, role, path):
    """A kubeconfig of a ServiceAccount that has the Role of that name on the page, and nothing else."""
    about = {"name": RUNNER, "namespace": namespace}
    binding = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "RoleBinding",
        "metadata": about,
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": role},
        "subjects": [{"kind": "ServiceAccount", "name": RUNNER, "namespace": namespace}],
    }
    made = manifests()["Role", role]
    made["metadata"]["namespace"] = namespace
    cluster.apply({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": about}, made, binding)
    config = json.loads(cluster.kubectl("config", "view", "--raw", "--minify", "--flatten", "-o", "json"))
    token = cluster.kubectl("-n", namespace, "create", "token", RUNNER, "--duration=1h").strip()
    config["users"] = [{"name": RUNNER, "user": {"token": token}}]
    config["contexts"][0]["context"]["user"] = RUNNER
    path.write_text(json.dumps(config))
    return path


def as_runner(shop, role, tmp_path):
    """Let the shop roll out as somebody who has nothing but this Role."""
    shop.site.more["KUBECONFIG"] = str(login(shop.cluster, shop.namespace, role, tmp_path / "runner.kubeconfig"))


@pytest.mark.parametrize("role", NEEDED)
def test_the_page_names_what_is_asked_for_before_anything_is_deployed(role):
    """No more and no less: an administrator who reads it there decides what we may do."""
    asked = {}
    for needed in NEEDED[role]:
        for key, verbs in needed.items():
            asked.setdefault(key, set()).update(verbs.split())

    assert rights(role) == asked


@pytest.mark.parametrize(("build", "exit_code"), [("v2", 0), ("v2-errors", 1)])
def test_the_role_on_the_page_is_enough(shop, tmp_path, build, exit_code):
    """On and back, with a guard that is given an account of its own."""
    as_runner(shop, RUNNER, tmp_path)
    with shop.users():
        run = shop.run(build, **DIRECT, **({"hold": "60s"} if exit_code else {}))

    assert run.exit == exit_code, run.out
    assert shop.stable == ("v1" if exit_code else "v2")
    assert shop.whole()


def test_with_an_account_for_the_guard_the_runner_makes_none(shop, tmp_path):
    """The smaller Role, and the guard's own, as they are printed."""
    as_runner(shop, LEAN, tmp_path)
    given = [manifests()[kind, GUARD] for kind in ("ServiceAccount", "Role", "RoleBinding")]
    for one in given:
        one["metadata"]["namespace"] = shop.namespace
    shop.cluster.apply(*given)
    with shop.users():
        run = shop.run("v2", **DIRECT, **{"router.gateway-api.guard.service_account": GUARD})

    assert run.exit == 0, run.out
    assert shop.stable == "v2"
    assert shop.whole()


def test_probes_through_the_api_server_need_the_two_lines_beside_the_role(shop, tmp_path):
    """`reach: port-forward` is for runners outside of the cluster's network."""
    as_runner(shop, RUNNER, tmp_path)
    refused = shop.run("v2", **{"platform.kubernetes.reach": "port-forward"})
    rule = re.search(r"^- (\{apiGroups: .*pods/portforward.*\})$", PAGE, re.MULTILINE)
    assert rule
    patch = [{"op": "add", "path": "/rules/-", "value": yaml.safe_load(rule[1])}]
    shop.cluster.kubectl("-n", shop.namespace, "patch", "role", RUNNER, "--type=json", "-p", json.dumps(patch))
    with shop.users():
        run = shop.run("v2", **{"platform.kubernetes.reach": "port-forward"})

    assert refused.exit == 4, refused.out
    assert "pods/portforward" in refused.out
    assert run.exit == 0, run.out
    assert shop.whole()


def test_a_right_that_is_missing_is_named_before_anything_is_deployed(shop, tmp_path):
    """With what an administrator types."""
    as_runner(shop, RUNNER, tmp_path)
    rules = [one for one in manifests()["Role", RUNNER]["rules"] if "leases" not in one["resources"]]
    patch = json.dumps([{"op": "replace", "path": "/rules", "value": rules}])
    shop.cluster.kubectl("-n", shop.namespace, "patch", "role", RUNNER, "--type=json", "-p", patch)
    run = shop.run("v2")

    assert run.exit == 4, run.out
    assert "leases.coordination.k8s.io" in run.out
    assert "kubectl" in run.out
    assert shop.stable == "v1"
    assert not shop.left
