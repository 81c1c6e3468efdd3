"""A service to practise production on: the demo gateway, stable at v1, behind the Gateway, and its users."""

from __future__ import annotations

import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from pytest_canary.adapters.clock import SystemClock
from pytest_canary.adapters.load import OFFERS
from pytest_canary.ports import Seen, Shared
from tests.cluster.cluster import Cluster
from tests.cluster.console import say, wait
from tests.cluster.workload import Service, install

NAME = "inference-gateway"
PROMPTS = Path(__file__).parents[2] / "rollouts" / "inference_gateway" / "prompts.jsonl"
TELL_SECONDS = 10.0
QUICK = {"STAGES": "10 50 100", "STAGE_HOLD_S": "10", "MIN_REQUESTS": "50", "WARMUP_S": "5"}
"""What the example's production target reads: minutes become seconds."""


def demo(cluster: Cluster, namespace: str) -> None:
    """Install the gateway at v1, anew where there is one, and print what to paste."""
    cluster.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}})
    # Before it has these two, pods are refused.
    needed = ("-n", namespace, "get", "serviceaccount/default", "configmap/kube-root-ca.crt", "-o", "name")
    wait(f"namespace {namespace}", lambda: cluster.kubectl(*needed))
    # What a rollout has changed belongs to whoever changed it: to apply over it would be a conflict.
    cluster.kubectl("-n", namespace, "delete", "lease", "-l", "pytest-canary/rollout")
    cluster.kubectl("-n", namespace, "delete", "httproute,deployment,service,job", "--all")
    made = install(cluster, namespace, f"{NAME}:v1")
    for line in lines(made):
        say(line)


def lines(made: Service) -> Iterator[str]:
    """What to type next."""
    cluster = made.cluster
    yield f"{made.image} serves in namespace {made.namespace}, at {cluster.gateway} for the host {made.host}"
    yield ""
    yield "# its users, in another terminal; Ctrl-C says what they have seen"
    yield f"{python()} -m tests.cluster users {made.namespace}"
    yield ""
    yield "# the rollout"
    yield f"export KUBECONFIG={cluster.kubeconfig} PATH={_shown(cluster.program.parent)}:$PATH"
    yield f"export GATEWAY_NAMESPACE={made.namespace} PROM_BASE={cluster.prometheus}"
    yield f"export GUARD_IMAGE={cluster.registry}/python:3"
    yield "export " + " ".join(f"{key}='{value}'" if " " in value else f"{key}={value}" for key, value in QUICK.items())
    sets = f"--canary-set {INSECURE}=true --canary-set baseline.window=10s"
    yield f"{bins()}pytest rollouts/ --image={NAME}:v2 --canary-target=production {sets}"
    yield ""
    yield "# what is there meanwhile, and afterwards"
    yield f"kubectl -n {made.namespace} get deployments,services,jobs,leases,httproutes"
    yield f"{bins()}pytest-canary status --target production --set {INSECURE}=true"


INSECURE = "platform.kubernetes.insecure_registry"


def users(cluster: Cluster, namespace: str, rate: float) -> int:
    """Ask through the Gateway, ``rate`` times a second, until Ctrl-C; 1 when one of them got no whole answer."""
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        told = {"rate": rate, "prompts": str(PROMPTS), "host": f"{namespace}.example"}
        many = OFFERS["load"].connect(told, Shared("users", SystemClock(), home, home))
        many.start()
        many.enter(cluster.gateway)
        for number in (signal.SIGINT, signal.SIGTERM):  # in the background of a script the first is ignored
            signal.signal(number, signal.default_int_handler)
        say(f"{rate:g} requests a second to {cluster.gateway} for {namespace}.example; Ctrl-C ends them")
        try:
            while True:
                time.sleep(TELL_SECONDS)
                say(told_of(many.seen()))
        except KeyboardInterrupt:
            seen = many.leave()
        finally:
            many.stop()
        say(told_of(seen))
        return 1 if seen.dropped else 0


def told_of(seen: Seen) -> str:
    """One line of what users saw."""
    slow = f"; p99 {seen.p99_seconds * 1000:.0f} ms" if seen.p99_seconds is not None else ""
    why = f" ({', '.join(f'{count} {what}' for what, count in seen.dropped_why.items())})" if seen.dropped else ""
    return f"{seen.answered} answered, {seen.failed} with an error, {seen.dropped} dropped{why}{slow}"


def _shown(path: Path) -> str:
    """``path`` as it may be typed on any machine."""
    return f"$HOME/{path.relative_to(Path.home())}" if path.is_relative_to(Path.home()) else str(path)


def bins() -> str:
    """Where the commands of this Python are, as they are typed from here."""
    folder = Path(sys.executable).parent
    return f"{folder.relative_to(Path.cwd())}/" if folder.is_relative_to(Path.cwd()) else ""


def python() -> str:
    """The Python that runs us, as it is typed from here."""
    return f"{bins()}python"
