"""What a copy keeps of the stable Deployment and Service, and what it does not."""

from __future__ import annotations

import copy

import pytest

from pytest_canary.adapters.kubernetes import clone
from pytest_canary.adapters.kubernetes.selectors import chooses, hidden
from pytest_canary.ports import Change, Revision
from tests.kubernetes.place import but

CANARY = Revision("shop:v2", "sha256:2")
IMAGE = "shop:v2@sha256:2"
STABLE = {
    "metadata": {
        "name": "shop",
        "labels": {"app": "shop", "team": "checkout", "app.kubernetes.io/managed-by": "Helm"},
        "annotations": {
            "deployment.kubernetes.io/revision": "7",
            "kubectl.kubernetes.io/last-applied-configuration": "{}",
            "argocd.argoproj.io/tracking-id": "shop:apps/Deployment:shop",
            "owner": "checkout",
        },
    },
    "spec": {
        "replicas": 4,
        "minReadySeconds": 3,
        "revisionHistoryLimit": 10,
        "paused": False,
        "strategy": {"type": "Recreate"},
        "selector": {"matchLabels": {"app": "shop"}},
        "template": {
            "metadata": {
                "labels": {"app": "shop", "tier": "web", "app.kubernetes.io/instance": "shop"},
                "annotations": {"prometheus.io/scrape": "true", "kubectl.kubernetes.io/restartedAt": "2026"},
                "creationTimestamp": None,
            },
            "spec": {
                "serviceAccountName": "shop",
                "priorityClassName": "high",
                "affinity": {"podAntiAffinity": {}},
                "tolerations": [{"operator": "Exists"}],
                "imagePullSecrets": [{"name": "pull"}],
                "volumes": [{"name": "data", "secret": {"secretName": "data"}}],
                "initContainers": [{"name": "migrate", "image": "shop:v1"}],
                "containers": [
                    {"name": "mesh", "image": "mesh:1"},
                    {
                        "name": "shop",
                        "image": "shop:v1",
                        "args": ["--serve"],
                        "env": [{"name": "A", "value": "1"}, {"name": "B", "valueFrom": {"secretKeyRef": {}}}],
                        "resources": {"requests": {"cpu": "1"}},
                        "readinessProbe": {"httpGet": {"path": "/ready", "port": "http"}},
                        "volumeMounts": [{"name": "data", "mountPath": "/data"}],
                    },
                ],
            },
        },
    },
}


def copied(stable=STABLE, revision=CANARY, foreign=(), container=None):
    """The Deployment of a copy."""
    return clone.deployment(stable, revision, IMAGE, container, 2, foreign)


def test_everything_that_makes_a_pod_what_it_is_is_kept():
    """But for the image of one container."""
    before = copy.deepcopy(STABLE)
    pod = copied()["spec"]["template"]["spec"]

    assert pod == but(STABLE["spec"]["template"]["spec"], lambda new: new["containers"][1].update(image=IMAGE))
    assert before == STABLE


def test_marks_of_controllers_are_not_copied():
    """A GitOps controller or Helm would take a copy with its marks away, or keep it."""
    made = copied()
    about, template = made["metadata"], made["spec"]["template"]["metadata"]

    assert {**about["annotations"], **template["annotations"]} == {
        "owner": "checkout",
        "prometheus.io/scrape": "true",
        clone.PIN: CANARY.pin,
    }
    assert about["labels"] == {"app": "shop", "team": "checkout", **clone.selector("shop", CANARY)}
    assert "app.kubernetes.io/instance" not in template["labels"]


def test_a_copy_has_a_selector_of_its_own_and_nothing_of_the_past():
    """What the stable Deployment chooses it does not, and the other way round."""
    spec = copied()["spec"]

    assert spec["selector"] == {"matchLabels": {"pytest-canary/rollout": "shop", "pytest-canary/role": "canary"}}
    assert chooses(spec["selector"], spec["template"]["metadata"]["labels"])
    assert not chooses(STABLE["spec"]["selector"], spec["template"]["metadata"]["labels"])
    assert (spec["replicas"], spec["minReadySeconds"], spec["strategy"]) == (2, 3, {"type": "Recreate"})
    assert "paused" not in spec


@pytest.mark.parametrize(
    "foreign",
    [
        {"matchLabels": {"app": "shop"}},
        {"matchLabels": {"tier": "web"}},
        {"matchLabels": {"app": "shop", "tier": "web"}},
        {"matchExpressions": [{"key": "tier", "operator": "In", "values": ["web", "api"]}]},
        {"matchExpressions": [{"key": "tier", "operator": "Exists"}]},
        {"matchLabels": {"app": "shop"}, "matchExpressions": [{"key": "batch", "operator": "DoesNotExist"}]},
    ],
    ids=str,
)
def test_no_other_selector_catches_the_pods_of_a_copy(foreign):
    """Services send users there, budgets and network policies count and close."""
    labels = STABLE["spec"]["template"]["metadata"]["labels"]
    assert chooses(foreign, labels)
    made = copied(foreign=[{"matchLabels": {"app": "other"}}, foreign])["spec"]["template"]["metadata"]["labels"]

    assert not chooses(foreign, made)


@pytest.mark.parametrize("everything", [{}, {"matchLabels": {}}, {"matchLabels": None, "matchExpressions": []}])
def test_a_selector_that_names_everything_hides_nothing(everything):
    """A policy for the whole namespace is for the canary too."""
    assert hidden({"app": "shop"}, [everything], "canary") == {"app": "shop"}


def test_labels_stay_labels():
    """At most 63 letters, and a letter or digit first."""
    long, empty = "x" * 63, {"matchLabels": {"empty": ""}}
    made = hidden({"app": long, "empty": ""}, [{"matchLabels": {"app": long}}, empty], "canary")

    assert len(made["app"]) == 63
    assert made["app"] != long
    assert made["empty"] == "canary"


@pytest.mark.parametrize("name", ["shop", "shop.v1", "s" * 46, "s" * 60, "s" * 200])
def test_names_of_copies_fit_into_the_names_of_their_pods(name):
    """Fifty-eight letters are kept of `<Deployment>-<hash of ten>-`, and a Service has 63."""
    names = {clone.name_of(name, Revision("a", "b", copy=role)) for role in ("", "control")}

    assert len(names) == 2
    assert all(len(f"{one}-0123456789-") <= 58 for one in names)


def test_what_a_canary_changes_is_added_once():
    """Another value of a variable, arguments at the end; and a control has nothing new."""
    change = Change(env=(("A", "2"), ("C", "3")), args=("--fast",))
    revision = Revision("shop:v2", "sha256:2", change)
    once = copied(revision=revision)["spec"]["template"]["spec"]["containers"][1]
    twice = but(once, lambda new: clone.put(new, IMAGE, change))

    assert once["args"] == ["--serve", "--fast"]
    assert {one["name"]: one.get("value") for one in once["env"]} == {"B": None, "A": "2", "C": "3"}
    assert twice == once
    assert clone.has(once, change)
    control = Revision("shop:v2", "sha256:2", change, copy="control")
    assert copied(revision=control)["spec"]["template"]["spec"]["containers"][1]["args"] == ["--serve"]


def test_the_container_is_the_one_that_is_meant():
    """The one that is named, that is called like the Deployment, or the first."""
    template = STABLE["spec"]["template"]

    assert clone.container_of(template, "shop", "mesh")["image"] == "mesh:1"
    assert clone.container_of(template, "shop", None)["image"] == "shop:v1"
    assert clone.container_of(template, "other", None)["image"] == "mesh:1"


def test_the_service_of_a_copy_is_for_the_cluster_alone():
    """No port of the node, no load balancer, no fixed address, and only its own pods."""
    stable = {
        "metadata": {
            "name": "shop",
            "labels": {"app": "shop"},
            "annotations": {"service.beta.kubernetes.io/aws-load-balancer-type": "nlb", "owner": "checkout"},
        },
        "spec": {
            "type": "LoadBalancer",
            "clusterIP": "10.96.0.7",
            "externalTrafficPolicy": "Local",
            "healthCheckNodePort": 30001,
            "sessionAffinity": "None",
            "selector": {"app": "shop"},
            "ports": [{"name": "http", "port": 80, "targetPort": "http", "nodePort": 30000}],
        },
    }
    made = clone.service(stable, "shop", CANARY)

    assert made["spec"] == {
        "type": "ClusterIP",
        "sessionAffinity": "None",
        "selector": clone.selector("shop", CANARY),
        "ports": [{"name": "http", "port": 80, "targetPort": "http"}],
    }
    assert made["metadata"]["annotations"] == {"owner": "checkout"}
