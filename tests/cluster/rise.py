"""Brings the whole cluster up, and down again."""

from __future__ import annotations

import string
import time
import urllib.request
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor

from tests.cluster import images, node, places, supplies
from tests.cluster.api import Api
from tests.cluster.cluster import Cluster, ours
from tests.cluster.console import Broken, say, sh, step, wait
from tests.cluster.places import CONTOUR_IP, ENVOY_IP, GATEWAY_NAME, GATEWAY_NAMESPACE, PROMETHEUS, REGISTRY


def up() -> Cluster:
    """Start what is not running yet; return when a route could be served and is measured."""
    if standing():
        images.publish(REGISTRY, images.every())
        return ours()
    node.check()
    down()
    supplies.gather()
    try:
        _start(ours())
    except Broken as error:
        after = f"the logs are in {places.LOG}; `python -m tests.cluster down` removes them"
        raise Broken(f"{error}\n{after}") from error
    places.READY.write_text(places.cache().name)
    return ours()


def down() -> None:
    """Leave nothing of the cluster but the cache."""
    if places.STATE.exists() or node.left():
        node.stop()


def standing() -> bool:
    """Whether a cluster of these very parts is up."""
    if not node.alive() or not places.READY.exists() or places.READY.read_text() != places.cache().name:
        return False
    # A test may have killed a server, or the machine is busy: it comes back, and others are using it.
    wait("API server", Api(places.ADMIN).healthy)
    return True


def _start(cluster: Cluster) -> None:
    with ThreadPoolExecutor() as pool:
        with step("API server"):
            begun = pool.submit(node.start)
            pushed = pool.submit(_publish)
            begun.result()
        definitions = pool.submit(_define, cluster)
        with step("images in the registry"):
            names = pushed.result()
        with step("Custom resources and certificates"):
            definitions.result()
        with step("node"):
            wait("node", lambda: _ready(cluster), 60, 0.1)
        with step("Contour and its Gateway"):
            _route(cluster, names)
        with step("Prometheus"):
            wait("Prometheus", _scraped, 60, 0.1)


def _publish() -> dict[str, str]:
    made = images.every()
    wait("registry", lambda: urllib.request.urlopen(f"http://{REGISTRY}/v2/", timeout=2).close() is None)
    return images.publish(REGISTRY, made)


def _define(cluster: Cluster) -> None:
    """What has to be there before anything of that kind can be applied."""
    for name in ("gateway-api", "contour"):
        cluster.kubectl("apply", "--server-side", "--validate=false", "-f", places.cache() / f"{name}.json")
    sh(places.binaries() / "contour", "certgen", "--kube", "--kubeconfig", cluster.kubeconfig,
       "--namespace", GATEWAY_NAMESPACE, "--overwrite", "--secrets-format=compact")  # fmt: skip


def _ready(cluster: Cluster) -> bool:
    condition = '{.status.conditions[?(@.type=="Ready")].status}'
    return cluster.kubectl("get", "node", places.NAME, "-o", f"jsonpath={condition}") == "True"


def _route(cluster: Cluster, names: Mapping[str, str]) -> None:
    named = {name.partition(":")[0]: full for name, full in names.items()}
    template = string.Template((places.HERE / "contour.yaml").read_text())
    text = template.substitute(
        contour=named["contour"],
        envoy=named["envoy"],
        contour_ip=CONTOUR_IP,
        envoy_ip=ENVOY_IP,
        gateway=GATEWAY_NAME,
    )
    cluster.kubectl("apply", "--server-side", "--validate=false", "-f", "-", stdin=text)
    for name in ("contour", "envoy"):
        cluster.kubectl("-n", GATEWAY_NAMESPACE, "rollout", "status", f"deployment/{name}", "--timeout=60s")
    gateway = f"gateway/{GATEWAY_NAME}"
    cluster.kubectl("-n", GATEWAY_NAMESPACE, "wait", gateway, "--for=condition=Programmed", "--timeout=60s")


def _scraped() -> bool:
    url = f"{PROMETHEUS}/api/v1/query?query=envoy_server_live"
    with urllib.request.urlopen(url, timeout=2) as answer:
        return b'"projectcontour"' in answer.read()


def tell(cluster: Cluster, began: float) -> None:
    """Say what to export."""
    say(f"export KUBECONFIG={cluster.kubeconfig}")
    say(f"export PROM_BASE={cluster.prometheus}")
    say(f"export PATH={cluster.program.parent}:$PATH  # kubectl")
    say(f"Gateway {cluster.gateway_namespace}/{cluster.gateway_name} at {cluster.gateway}, registry {cluster.registry}")
    say(f"logs {places.LOG}")
    say(f"up after {time.monotonic() - began:.1f} s")
