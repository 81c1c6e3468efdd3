"""What tests may rely on: a cluster that serves, measures, refuses and pulls as a real one does."""

from __future__ import annotations

import json
import urllib.parse
import urllib.request
from typing import Any

import pytest

from tests.cluster import Cluster, install, node, sharing
from tests.cluster.console import Broken, wait
from tests.cluster.image import MANIFEST

CHAT = json.dumps({"model": "demo-llm", "messages": [{"role": "user", "content": "Say hello."}]}).encode()
NOBODY = "0" * 64


def measured(cluster: Cluster, query: str) -> list[tuple[dict[str, str], float]]:
    """Labels and value of each series."""
    url = f"{cluster.prometheus}/api/v1/query?{urllib.parse.urlencode({'query': query})}"
    with urllib.request.urlopen(url, timeout=10) as answer:
        return [(each["metric"], float(each["value"][1])) for each in json.load(answer)["data"]["result"]]


def pod(name: str, image: str, *words: str, **container: object) -> dict[str, object]:
    """One pod that runs once."""
    runs = {"name": name, "image": image, "args": list(words), **container}
    spec = {"restartPolicy": "Never", "containers": [runs]}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec}


def manifest(image: str) -> Any:
    """What the registry has under the digest of ``image``."""
    return stored(image.replace("@", "/manifests/"))


def stored(path: str) -> Any:
    """The JSON at ``path`` of the registry."""
    registry, _, rest = path.partition("/")
    request = urllib.request.Request(f"http://{registry}/v2/{rest}", headers={"Accept": MANIFEST})
    with urllib.request.urlopen(request, timeout=10) as answer:
        return json.load(answer)


def create(cluster: Cluster, namespace: str, *objects: dict[str, object]) -> None:
    """Create objects in a namespace."""
    for each in objects:
        cluster.kubectl("-n", namespace, "create", "-f", "-", stdin=json.dumps(each))


def waits_for(cluster: Cluster, namespace: str, name: str) -> str:
    """Why the container of a pod waits, in Kubernetes' word and its sentence."""
    state = cluster.get("-n", namespace, "pod", name)["status"].get("containerStatuses", [{}])[0].get("state", {})
    waiting = state.get("waiting", {})
    return f"{waiting.get('reason', '')}: {waiting.get('message', '')}"


def test_a_build_of_the_demo_answers_through_the_gateway(cluster, namespace):
    """The image runs, the Service finds its pods, and the route leads there."""
    service = install(cluster, namespace, "inference-gateway:v2-model8")

    status, body = service.ask("/v1/chat/completions", CHAT)
    models = json.loads(service.ask("/v1/models")[1])["data"]

    assert (status, json.loads(body)["choices"][0]["message"]["role"]) == (200, "assistant")
    assert [model["version"] for model in models] == ["8"]


def test_two_builds_share_all_of_their_layers_and_have_two_digests(cluster):
    """So to push one more build costs nothing, and each can be told from all others."""
    one, other = (cluster.image(f"inference-gateway:{tag}") for tag in ("v1", "v2-errors"))

    assert one != other
    assert manifest(one)["layers"] == manifest(other)["layers"]


def test_podinfo_says_the_version_of_its_tag(cluster, namespace):
    """Somebody else's program, for tests that must not know the demo."""
    service = install(cluster, namespace, "podinfo:6.9.1", name="podinfo", replicas=1, port=9898, ready="/readyz")

    assert json.loads(service.ask("/version")[1])["version"] == "6.9.1"


def test_the_pods_and_the_proxy_are_measured(cluster, namespace):
    """Two independent counts of the same requests, with the labels that tell pods and services apart."""
    service = install(cluster, namespace, "inference-gateway:v1", replicas=1)
    asked = 7
    for _ in range(asked):
        service.ask("/v1/chat/completions", CHAT)

    def counted() -> float:
        return sum(value for _, value in measured(cluster, f'gateway_requests_total{{namespace="{namespace}"}}'))

    def proxied() -> float:
        cluster_name = f'envoy_cluster_name=~"{namespace}_inference-gateway_80.*"'
        return sum(value for _, value in measured(cluster, f"envoy_cluster_upstream_rq{{{cluster_name}}}"))

    # Prometheus takes up new targets every five seconds, and the two are scraped one after the other.
    wait("the pod's own count", lambda: counted() == asked, 15, 0.2)
    wait("the proxy's count", lambda: proxied() >= asked, 15, 0.2)
    (pods,) = cluster.get("-n", namespace, "pods")["items"]
    labels = [label for label, _ in measured(cluster, f'gateway_requests_total{{namespace="{namespace}"}}')]

    assert {(each["pod"], each["app"]) for each in labels} == {(pods["metadata"]["name"], "inference-gateway")}


def test_the_route_has_a_second_rule_that_serves_too(cluster, namespace):
    """Whoever moves traffic must leave this rule as it is."""
    service = install(cluster, namespace, "inference-gateway:v1", replicas=1)
    asked = {"Host": service.host}

    def debugged(**more: str) -> str | None:
        request = urllib.request.Request(f"{cluster.gateway}/health", headers={**asked, **more})
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.headers["x-debugged"]

    assert (debugged(), debugged(**{"x-debug": "1"})) == (None, "yes")


def test_a_token_may_do_what_its_role_names_and_nothing_else(cluster, namespace):
    """RBAC is on."""
    words = ("-n", namespace, "create")
    cluster.kubectl(*words, "serviceaccount", "shipper")
    cluster.kubectl(*words, "role", "shipper", "--verb=get,patch", "--resource=deployments.apps")
    cluster.kubectl(*words, "rolebinding", "shipper", "--role=shipper", f"--serviceaccount={namespace}:shipper")
    install(cluster, namespace, "inference-gateway:v1", replicas=1)
    token = cluster.kubectl(*words, "token", "shipper").strip()
    may = ("-n", namespace, "--token", token)

    cluster.kubectl(*may, "patch", "deployment", "inference-gateway", "-p", '{"spec":{"revisionHistoryLimit":3}}')

    with pytest.raises(Broken, match="cannot delete resource"):
        cluster.kubectl(*may, "delete", "deployment", "inference-gateway")
    with pytest.raises(Broken, match="cannot list resource"):
        cluster.kubectl(*may, "get", "pods")


def test_every_write_is_logged_with_its_body(cluster, namespace):
    """A test can tell exactly what a program did to the cluster."""
    if cluster.audit is None:
        pytest.skip("the cluster that was given keeps no log that can be read here")
    cluster.kubectl("-n", namespace, "create", "configmap", "said", "--from-literal=word=hello")

    def logged() -> list[object]:
        events = [json.loads(line) for line in cluster.audit.read_text().splitlines() if namespace in line]
        return [each["requestObject"]["data"] for each in events if each["objectRef"].get("name") == "said"]

    wait("the log", lambda: logged() == [{"word": "hello"}], 5)


def test_an_unknown_digest_is_not_pulled(cluster, namespace):
    """The registry is real, so its refusals are."""
    create(cluster, namespace, pod("unknown", f"{cluster.registry}/inference-gateway@sha256:{NOBODY}"))

    wait("the refusal", lambda: waits_for(cluster, namespace, "unknown").startswith(("ErrImagePull", "ImagePullB")), 20)


def test_a_further_image_can_be_for_another_machine(cluster):
    """A test can make the image that a rollout has to refuse; containerd 1.6 would run it."""
    image = cluster.push_again("inference-gateway:v2", "v2-s390x", architecture="s390x", env={"WORD": "hello"})
    repository = image.partition("@")[0]
    config = stored(f"{repository}/blobs/{manifest(image)['config']['digest']}")

    assert cluster.image("inference-gateway:v2-s390x") == image != cluster.image("inference-gateway:v2")
    assert config["architecture"] == "s390x"
    assert "WORD=hello" in config["config"]["Env"]


def test_a_job_runs_python_with_its_standard_library(cluster, namespace):
    """A watcher can run inside the cluster with nothing to install."""
    program = "import ssl, json, http.client, urllib.request, sqlite3; print(json.dumps(ssl.OPENSSL_VERSION))"
    create(cluster, namespace, pod("guard", cluster.image("python:3"), "-c", program))

    wait("the pod", lambda: cluster.get("-n", namespace, "pod", "guard")["status"]["phase"] == "Succeeded", 20)
    assert "OpenSSL" in json.loads(cluster.kubectl("-n", namespace, "logs", "guard"))


def test_a_process_is_given_the_cluster_that_is_up(cluster):
    """Nothing is started twice."""
    assert sharing.running() == cluster


def test_a_cluster_that_is_up_is_seen_on_the_machine(cluster):
    """The list of leftovers, which is empty in the end, is not always empty."""
    if cluster.audit is None:
        pytest.skip("another cluster was given")

    assert {"link canary0", "/tmp/pytest-canary-cluster"} <= set(node.left())
