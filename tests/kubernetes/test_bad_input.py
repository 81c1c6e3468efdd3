"""Bad input: one line each with what mends it, and nothing deployed."""

from __future__ import annotations

import base64
import json
import re
import time
from pathlib import Path

import certifi
import pytest
import yaml

from pytest_canary.adapters.kubernetes import KubernetesPlatform
from pytest_canary.adapters.ledger.lease import LeaseLedger
from pytest_canary.errors import AdapterError, LedgerError, SpecError
from pytest_canary.ports import Change
from tests.kubernetes.place import OTHER, one_line


@pytest.fixture(autouse=True, scope="module")
def _nothing_is_deployed(place):
    """Whatever was wrong, nothing of ours is there at the end."""
    yield
    assert place.kubectl("get", "all,roles,rolebindings,leases", "-l", "pytest-canary/rollout", "-o", "name") == ""


@pytest.fixture
def check(place, tmp_path):
    """What a platform, or a router beside it, finds wrong; connected anew each time."""
    opened = []

    def found(router=None, **options):
        shared = place.shared(tmp_path)
        platform = place.platform(shared, **options)
        opened.append(platform)
        adapter = platform if router is None else place.router(shared, **router)
        return list(adapter.check())

    yield found
    for platform in opened:
        platform.stop()


def only(lines, *parts):
    """Whether one thing is wrong, said in one line."""
    assert len(lines) == 1, lines
    return one_line(lines[0], *parts)


# -- names --------------------------------------------------------------------------------------------------------


def test_all_is_well(check):
    """Otherwise the other tests would prove nothing."""
    assert check() == []
    assert check(router={}) == []
    assert check(router={"guard": True}) == []


def test_no_such_context_or_kubeconfig(place, tmp_path):
    """Said when the target is read, before anybody is asked."""
    with pytest.raises(SpecError) as error:
        place.platform(place.shared(tmp_path), context="nowhere")
    assert one_line(error.value, "no context 'nowhere'", "`kubectl config get-contexts` lists them")
    with pytest.raises(SpecError) as error:
        place.platform(place.shared(tmp_path), kubeconfig=str(tmp_path / "none"), context=None)
    assert one_line(error.value, str(tmp_path / "none"), "set KUBECONFIG, or `platform.kubernetes.kubeconfig`")
    (tmp_path / "broken").write_text("{clusters: [")
    with pytest.raises(SpecError) as error:
        place.platform(place.shared(tmp_path), kubeconfig=str(tmp_path / "broken"), context=None)
    assert one_line(error.value, "broken")


def test_no_such_namespace(check):
    """It is what is missing, not everything in it."""
    assert only(check(namespace="t-nowhere"), "no namespace t-nowhere", "`kubectl get namespaces`")
    assert check(router={}, namespace="t-nowhere") == check(namespace="t-nowhere")
    assert only(check(router={"namespace": "t-nowhere"}), "no namespace t-nowhere")


def test_no_such_deployment_service_port_or_container(check, place):
    """Each with what is there instead."""
    assert only(check(deployment="none"), "no Deployment none", f"kubectl -n {place.namespace} get deployments")
    assert only(check(service="none"), "no Service none", f"kubectl -n {place.namespace} get services")
    assert only(check(port="grpc"), "no port 'grpc'; it has http 80", "`platform.kubernetes.port`")
    assert only(check(container="none"), "no container 'none'; it has podinfo", "`platform.kubernetes.container`")
    assert check(port="80") == check(port="http") == check(container="podinfo") == []


def test_a_service_of_other_pods(check, place):
    """Users would be split between two things that have nothing to do with each other."""
    place.kubectl("create", "service", "clusterip", "strange", "--tcp=80")
    try:
        assert only(check(service="strange"), "does not choose the pods", "`platform.kubernetes.service`")
    finally:
        place.kubectl("delete", "service", "strange")


def test_a_deployment_that_is_paused(check, place):
    """A promotion would be written, and never arrive."""
    with place.as_it_was("deployment"):
        place.kubectl("rollout", "pause", f"deployment/{place.name}")
        assert only(check(), "is paused", "rollout resume deployment/podinfo")


# -- the route ----------------------------------------------------------------------------------------------------


def test_no_such_route(check, place):
    """And where to look."""
    assert only(check(router={"route": "none"}), "no HTTPRoute none", f"kubectl -n {place.namespace} get httproutes")


def test_a_route_that_does_not_send_to_the_stable_service(check, place):
    """Shifting its weights would shift nobody."""
    with place.as_it_was("httproute"):
        place.patch("httproute", {"spec": {"rules": [{"backendRefs": [{"name": "other", "port": 80}]}]}})
        assert only(check(router={}), "no rule of HTTPRoute podinfo sends to Service podinfo; it names other")


def test_a_rule_that_names_the_stable_service_twice(check, place):
    """Two ports of it: nobody knows beside which of the two the canary belongs."""
    refs = [{"name": place.name, "port": 80}, {"name": place.name, "port": 80, "weight": 3}]
    with place.as_it_was("httproute"):
        place.patch("httproute", {"spec": {"rules": [{"backendRefs": refs}]}})
        assert only(check(router={}), "rule 1 of HTTPRoute podinfo names Service podinfo more than once")


def test_a_route_that_no_gateway_serves(check, place):
    """Every shift would end with a time-out."""
    with place.as_it_was("httproute"):
        place.patch("httproute", {"spec": {"parentRefs": [{"name": "nobody"}]}})
        found = check(router={"settle_seconds": 0.3})
        assert only(
            found, "not in order before we touch it: gateway nobody has not looked at it", "describe httproute podinfo"
        )


@pytest.mark.parametrize(
    ("mark", "tool"),
    [
        ({"ownerReferences": [{"apiVersion": "a/v1", "kind": "Canary", "name": "shop", "uid": "1"}]}, "Flagger"),
        ({"ownerReferences": [{"apiVersion": "a/v1", "kind": "Rollout", "name": "shop", "uid": "1"}]}, "Argo Rollouts"),
        ({"labels": {"rollouts.argoproj.io/gatewayapi-canary": "in-progress"}}, "Argo Rollouts"),
        ({"labels": {"app.kubernetes.io/managed-by": "flagger"}}, "Flagger"),
    ],
    ids=["Canary", "Rollout", "label of Argo", "label of Flagger"],
)
@pytest.mark.parametrize("kind", ["httproute", "deployment"])
def test_what_another_tool_rolls_out_is_left_to_it(check, place, kind, mark, tool):
    """Two who set the same weights undo each other."""
    body = {
        **place.get(kind, place.name),
        "metadata": {"namespace": place.namespace, "name": f"{tool[:4].lower()}-its"},
    }
    body["metadata"] |= mark
    if kind == "deployment":
        body["spec"]["replicas"] = 0
    # Without the owner there, the garbage collector would take it away at once.
    if "ownerReferences" in mark:
        owner = place.get("service", place.name)["metadata"]["uid"]
        mark["ownerReferences"][0] |= {"uid": owner}
    body.pop("status", None)
    place.kubectl("create", "-f", "-", stdin=json.dumps(body))
    named = body["metadata"]["name"]
    try:
        if kind == "deployment":
            found = check(deployment=named, service=place.name)
        else:
            found = check(router={"route": named, "settle_seconds": 3})
        assert any(one_line(line, tool, "let one of the two do the rollout") for line in found if tool in line)
    finally:
        place.kubectl("delete", kind, named, "--wait=false")


# -- rights -------------------------------------------------------------------------------------------------------


@pytest.fixture
def as_small(place, tmp_path):
    """A kubeconfig of an account that may only look at some things."""
    rules = [
        {"apiGroups": ["", "apps", "discovery.k8s.io"], "resources": ["*"], "verbs": ["get", "list"]},
        {"apiGroups": ["gateway.networking.k8s.io"], "resources": ["httproutes"], "verbs": ["get"]},
        {"apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "verbs": ["get", "create", "update"]},
    ]
    about = {"name": "small", "namespace": place.namespace}
    subject = {"kind": "ServiceAccount", "name": "small", "namespace": place.namespace}
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "small"}
    rbac = "rbac.authorization.k8s.io/v1"
    place.cluster.apply(
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": about},
        {"apiVersion": rbac, "kind": "Role", "metadata": about, "rules": rules},
        {"apiVersion": rbac, "kind": "RoleBinding", "metadata": about, "roleRef": role, "subjects": [subject]},
    )
    token = place.kubectl("create", "token", "small").strip()
    yield {"kubeconfig": changed(place, tmp_path, user={"token": token})}
    place.kubectl("delete", "rolebinding/small", "role/small", "serviceaccount/small")


def changed(place, folder, *, user=None, cluster=None):
    """The kubeconfig of the tests, with another user or cluster in it."""
    told = yaml.safe_load(place.cluster.kubeconfig.read_text())
    context = next(one["context"] for one in told["contexts"] if one["name"] == place.cluster.context)
    for kind, key, new in (("clusters", "cluster", cluster), ("users", "user", user)):
        for one in told[kind]:
            if new is not None and one["name"] == context[key]:
                one[key] = new if key == "user" else {**one[key], **new}
    path = folder / "kubeconfig"
    path.write_text(yaml.safe_dump(told))
    return str(path)


def test_every_right_that_is_missing_is_named_with_the_command(check, place, as_small):
    """One line for each kind of object: verbs, and what an administrator types."""
    found = check(**as_small)

    assert len(found) == 4
    assert one_line(found[0], "we may not create, update, patch, delete deployments.apps", place.namespace)
    command = re.search(r"kubectl -n \S+ create role pytest-canary-more --verb=\S+ --resource=\S+?(?=,)", found[0])
    assert command is not None
    place.kubectl(*command.group().split()[3:], "--dry-run=client")
    said = " ".join(found)
    for kind in ("services", "horizontalpodautoscalers.autoscaling", "poddisruptionbudgets.policy"):
        assert f" {kind} in namespace" in said


def test_the_router_says_what_it_and_the_lease_and_the_guard_need(check, as_small):
    """Only with a guard of its own account are accounts needed."""
    plain = check(router={}, **as_small)
    guarded = check(router={"guard": True}, **as_small)
    given = check(router={"guard": {"service_account": "there"}}, **as_small)

    assert [line.partition(" in ")[0] for line in plain] == [
        "we may not patch httproutes.gateway.networking.k8s.io",
        "we may not patch, delete leases.coordination.k8s.io",
    ]
    assert {line.partition(" in ")[0].rpartition(" ")[2] for line in guarded[2:]} == {
        "jobs.batch",
        "serviceaccounts",
        "roles.rbac.authorization.k8s.io",
        "rolebindings.rbac.authorization.k8s.io",
    }
    assert len(given) == 3


def test_a_right_that_is_taken_away_later_is_named_too(place, tmp_path, as_small):
    """The request that was refused says what would allow it."""
    platform = place.platform(place.shared(tmp_path), **as_small)
    with pytest.raises(AdapterError) as error:
        platform._copies.make(platform.resolve(place.image(OTHER), Change()), platform._service())
    platform.stop()

    assert one_line(error.value, "create role pytest-canary-more --verb=list --resource=poddisruptionbudgets.policy")


# -- the API server -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("server", "user", "said"),
    [
        ({"server": "https://127.0.0.1:9"}, None, ("127.0.0.1:9 does not answer", "`kubectl cluster-info`")),
        ({"certificate-authority-data": "OTHER"}, None, ("is not the one that the kubeconfig names", "mend its")),
        (None, {"token": "wrong"}, ("does not know us", "log in anew")),
        (None, {"client-certificate-data": "AAAA", "client-key-data": "AAAA"}, ("cannot be read", "log in anew")),
    ],
    ids=["wrong port", "another authority", "wrong token", "broken certificate"],
)
def test_a_server_that_does_not_answer_as_it_should(place, tmp_path, check, other_authority, server, user, said):
    """One line, at once: from the platform, and from the ledger, which nobody translates."""
    if server and "certificate-authority-data" in server:
        server = {"certificate-authority-data": other_authority}
    path = changed(place, tmp_path, cluster=server, user=user)
    began = time.monotonic()

    assert only(check(kubeconfig=path), *said)
    options = place.options(kubeconfig=path)
    with pytest.raises(LedgerError) as error:
        LeaseLedger(options, {"route": place.name}, tmp_path, tmp_path).acquire("run-1")
    assert one_line(error.value, *said)
    assert time.monotonic() - began < 6


@pytest.fixture(scope="module")
def other_authority():
    """Some certificate, in base64, that has signed nothing here."""
    text = Path(certifi.where()).read_text(encoding="utf-8")
    first = text[text.index("-----BEGIN") :].partition("-----END CERTIFICATE-----")
    return base64.b64encode(f"{first[0]}{first[1]}\n".encode()).decode()


@pytest.mark.parametrize(
    "wrong", [{"namespace": "Not A Name"}, {"deployment": ""}, {"reach": "magic"}, {"replicas": 0}]
)
def test_options_that_make_no_sense_are_refused_as_they_are_read(place, wrong):
    """By name, before anything is connected."""
    with pytest.raises(ValueError, match=next(iter(wrong))):
        KubernetesPlatform.Options.model_validate(place.options(**wrong))
