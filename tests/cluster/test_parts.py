"""What can be told without a cluster."""

from __future__ import annotations

import pytest

from tests.cluster import layers, node, places, sharing
from tests.cluster.console import Unavailable
from tests.cluster.image import Image
from tests.cluster.registry import digest
from tests.cluster.targets import groups
from tests.cluster.workload import merged


@pytest.fixture
def made(tmp_path, monkeypatch):
    """A function that makes a layer of one file, in a cache of its own each time."""

    def make(number: int, text: str = "x"):
        monkeypatch.setattr(places, "cache", lambda: tmp_path / str(number))
        (tmp_path / str(number)).mkdir()
        source = tmp_path / f"source-{number}"
        source.write_text(text)
        return layers.layer("one", "key", lambda: {"/opt/app/file": source})

    return make


def test_a_layer_is_named_by_what_is_in_it_alone(made):
    """Not by when it was made, or from which folder."""
    assert made(1).digest == made(2).digest != made(3, "y").digest


def test_a_layer_that_was_made_is_found_again(made):
    """What takes long is done once."""
    layer = made(1)

    assert layers.layer("one", "key", dict) == layer


def test_an_image_differs_by_its_config_alone(made):
    """The tag is no part of an image."""
    image = Image("name", "1", (made(1),), ("/bin/x",), {"A": "1"})
    other = image.but("2", env={"A": "2"})

    assert image.layers == other.layers
    assert digest(image.manifest) != digest(other.manifest)
    assert digest(image.manifest) == digest(image.but("3").manifest)


def running(**changes):
    """A pod that asks to be scraped."""
    about = {
        "name": "p", "namespace": "n", "labels": {"app": "a", "pod-template-hash": "h"},
        "annotations": {"prometheus.io/scrape": "true", "prometheus.io/port": "8080"},
    }  # fmt: skip
    return merged({"metadata": about, "status": {"phase": "Running", "podIP": "10.244.0.9"}}, changes)


def test_a_pod_is_scraped_with_the_labels_that_can_be_names():
    """Labels with dashes or slashes cannot be labels of Prometheus."""
    (group,) = groups([running()])

    assert group["targets"] == ["10.244.0.9:8080"]
    assert group["labels"] == {"app": "a", "namespace": "n", "pod": "p", "__metrics_path__": "/metrics"}


@pytest.mark.parametrize(
    "changes",
    [
        {"status": {"phase": "Pending"}},
        {"status": {"podIP": None}},
        {"metadata": {"annotations": {"prometheus.io/scrape": "no"}}},
    ],
)
def test_other_pods_are_not_scraped(changes):
    """A pod without an address, or that did not ask, is no target."""
    assert list(groups([running(**changes)])) == []


def test_merging_keeps_what_is_not_named():
    """A test changes one field of a Deployment and repeats none."""
    assert merged({"a": {"b": 1, "c": [1]}, "d": 2}, {"a": {"c": [2]}}) == {"a": {"b": 1, "c": [2]}, "d": 2}


def test_without_root_one_line_says_so(monkeypatch):
    """Before anything is built or fetched."""
    monkeypatch.setattr("os.geteuid", lambda: 1000)

    with pytest.raises(Unavailable, match="root"):
        node.check()


def test_a_given_cluster_must_be_given_whole(monkeypatch):
    """One line names what is missing."""
    monkeypatch.setenv("CANARY_KUBECONFIG", "/nowhere")
    monkeypatch.setenv("CANARY_GATEWAY", "http://127.0.0.1")
    monkeypatch.delenv("CANARY_PROMETHEUS", raising=False)
    monkeypatch.delenv("CANARY_REGISTRY", raising=False)

    with pytest.raises(Unavailable, match="CANARY_PROMETHEUS, CANARY_REGISTRY"):
        sharing.running.__wrapped__()
