"""What stands guard inside the cluster: a program of its own, with nothing but Python's standard library.

It watches the Lease of one run.  Once that has not been renewed for as long as it says, nobody watches the canary any
more: all traffic goes to the build that is known to be good.  That is the stable one, unless a promotion has already
begun to replace its pods: then it is the canary, which has had all the traffic by then.  Where that build has no pods
and the other has, users are left with who answers them, until it has some again.
"""

from __future__ import annotations

import json
import os
import ssl
import sys
import time
import urllib.error
import urllib.request
from typing import Any

PLACE = "/var/run/secrets/kubernetes.io/serviceaccount"
LOOK_SECONDS = 1.0
NAME = "guard-in-the-cluster"
FACTS = "pytest-canary/facts"


def say(text: str) -> None:
    """One line for `kubectl logs`."""
    sys.stdout.write(f"{time.strftime('%H:%M:%S')} {text}\n")
    sys.stdout.flush()


def call(method: str, path: str, body: Any = None, kind: str = "application/merge-patch+json") -> Any:
    """One request to the API server; None where there is no such object."""
    host, port = os.environ["KUBERNETES_SERVICE_HOST"], os.environ["KUBERNETES_SERVICE_PORT"]
    with open(f"{PLACE}/token", encoding="ascii") as file:
        headers = {"Authorization": f"Bearer {file.read().strip()}", "Content-Type": kind}
    data = None if body is None else json.dumps(body).encode()
    host = f"[{host}]" if ":" in host else host
    request = urllib.request.Request(f"https://{host}:{port}{path}", data, headers, method=method)
    tls = ssl.create_default_context(cafile=f"{PLACE}/ca.crt")
    try:
        with urllib.request.urlopen(request, timeout=5, context=tls) as answer:
            return json.load(answer)
    except urllib.error.HTTPError as error:
        if error.code == 404:
            return None
        raise


def safe(told: Any, lease: Any) -> tuple[str, bool]:
    """The Service that is to have everything now, and whether that is where it belongs."""
    deployments = f"/apis/apps/v1/namespaces/{told['namespace']}/deployments"
    stable, canary = (call("GET", f"{deployments}/{told[name]}") for name in ("stable", "canary"))
    both = {told["service"]: serves(stable), told["canary_service"]: serves(canary)}
    containers = stable["spec"]["template"]["spec"]["containers"] if stable else []
    # What somebody else has put there in the middle of a promotion is not what was proven.
    new = promoted(told, containers) or (proven(lease) and not has(told, containers, "original"))
    first, second = reversed(both) if new else both
    good = second if both[second] and not both[first] else first
    # A canary that has gone in the middle of a promotion does not come back, and the new pods are of its build.
    return str(good), good == first or new


def serves(deployment: Any) -> bool:
    """Whether it has pods that take requests."""
    wanted, status = (deployment["spec"].get("replicas", 1), deployment.get("status") or {}) if deployment else (0, {})
    return bool(wanted and status.get("readyReplicas"))


def promoted(told: Any, containers: Any) -> bool:
    """Whether the stable Deployment has what a promotion changes; what others have changed of it does not matter."""
    return has(told, containers, "promoted")


def has(told: Any, containers: Any, which: str) -> bool:
    """Whether what a promotion changes of the stable Deployment is as in ``which`` of the two."""
    before, after = told.get("original"), told.get("promoted")
    new = [key for key in after if after[key] != before.get(key)] if before and after else []
    mine = [one for one in containers if one["name"] == told["container"]]
    return bool(new and mine) and all(mine[0].get(key) == told[which].get(key) for key in new)


def proven(lease: Any) -> bool:
    """Whether a promotion has begun, as the run has noted."""
    noted = (lease["metadata"].get("annotations") or {}).get(FACTS) or "[]"
    return any(fact.get("kind") == "promoting" for fact in json.loads(noted))


def is_service(ref: Any, told: Any) -> bool:
    """Whether a backendRef means a Service of our namespace."""
    here = ref.get("namespace", told["route_namespace"]) == told["namespace"]
    return bool(here and ref.get("kind", "Service") == "Service" and not ref.get("group"))


def shift(told: Any, lease: Any) -> bool:
    """Give the safe Service what both have together, in every rule that has both; whether it may stay there."""
    path = f"/apis/gateway.networking.k8s.io/v1/namespaces/{told['route_namespace']}/httproutes/{told['route']}"
    route = call("GET", path)
    good, lasting = safe(told, lease)
    ours = {told["service"], told["canary_service"], *told["others"]}
    operations = []
    for place, rule in enumerate((route or {"spec": {}})["spec"].get("rules") or []):
        refs = rule.get("backendRefs") or []
        mine = [ref for ref in refs if ref.get("name") in ours and is_service(ref, told)]
        if any(ref["name"] == good for ref in mine):
            total = sum(ref.get("weight", 1) for ref in mine) or 1
            new = [{**ref, "weight": total if ref["name"] == good else 0} if ref in mine else ref for ref in refs]
            if new != refs:
                operations.append({"op": "replace", "path": f"/spec/rules/{place}/backendRefs", "value": new})
    if operations:
        version = {"op": "replace", "path": "/metadata/resourceVersion", "value": route["metadata"]["resourceVersion"]}
        call("PATCH", path, [version, *operations], "application/json-patch+json")
    if operations or lasting:
        say(f"nobody renews {told['lease']}: {'all' if operations else 'still all'} traffic to {good}")
    return lasting


def take(told: Any, lease: Any) -> None:
    """Let the run know, should it ever wake up, that it has lost its rollout."""
    path = f"/apis/coordination.k8s.io/v1/namespaces/{told['namespace']}/leases/{told['lease']}"
    version = lease["metadata"]["resourceVersion"]
    call("PATCH", path, {"metadata": {"resourceVersion": version}, "spec": {"holderIdentity": NAME}})


def main() -> int:
    """Stand until the Lease is gone: then the rollout has ended well."""
    told = json.loads(os.environ["CANARY_GUARD"])
    path = f"/apis/coordination.k8s.io/v1/namespaces/{told['namespace']}/leases/{told['lease']}"
    seen: Any = None
    since, acted = time.monotonic(), False
    say(f"watching {told['lease']}")
    while True:
        try:
            lease = call("GET", path)
            if lease is None:
                return 0
            spec = lease["spec"]
            now = (spec.get("holderIdentity"), spec.get("renewTime"))
            if now != seen and now[0] != NAME:
                seen, since, acted = now, time.monotonic(), False
            silent = time.monotonic() - since >= spec.get("leaseDurationSeconds", 15) or not now[0]
            if silent and not acted:
                if now[0] and now[0] != NAME:
                    take(told, lease)
                acted = shift(told, lease)
        except (OSError, KeyError, ValueError) as error:
            say(f"{error}")
        time.sleep(LOOK_SECONDS)


if __name__ == "__main__":
    sys.exit(main())
