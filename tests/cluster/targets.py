"""``python -m tests.cluster.targets KUBECONFIG TARGETS.json``: tell Prometheus which pods there are."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from tests.cluster.api import Api

Pod = dict[str, Any]


def groups(pods: Iterable[Pod]) -> Iterator[dict[str, Any]]:
    """What Prometheus is to scrape: running pods that ask for it, with the labels that can be names of labels."""
    for pod in pods:
        about, status = pod["metadata"], pod["status"]
        asks = about.get("annotations", {})
        address = status.get("podIP")
        if asks.get("prometheus.io/scrape") != "true" or not address or status.get("phase") != "Running":
            continue
        own = {name: value for name, value in about.get("labels", {}).items() if name.isidentifier()}
        yield {
            "targets": [f"{address}:{asks['prometheus.io/port']}"],
            "labels": {
                **own,
                "namespace": about["namespace"],
                "pod": about["name"],
                "__metrics_path__": asks.get("prometheus.io/path", "/metrics"),
            },
        }


def follow(api: Api, target: Path) -> None:
    """Write the list, and again whenever a pod changes, until the watch ends."""
    listed = api.get("/api/v1/pods")
    pods = {pod["metadata"]["uid"]: pod for pod in listed["items"]}
    _write(target, pods.values())
    for event in api.watch(f"/api/v1/pods?watch=1&resourceVersion={listed['metadata']['resourceVersion']}"):
        pod = event["object"]
        if event["type"] == "ERROR":
            return
        if event["type"] == "DELETED":
            pods.pop(pod["metadata"]["uid"], None)
        else:
            pods[pod["metadata"]["uid"]] = pod
        _write(target, pods.values())


def _write(target: Path, pods: Iterable[Pod]) -> None:
    text = json.dumps(list(groups(pods)), sort_keys=True)
    if target.exists() and target.read_text() == text:
        return
    unfinished = target.with_suffix(".new")
    unfinished.write_text(text)
    os.replace(unfinished, target)


def main() -> None:
    """Follow for ever; a server that is away comes back."""
    api = Api(Path(sys.argv[1]))
    while True:
        try:
            follow(api, Path(sys.argv[2]))
        except OSError as problem:
            sys.stdout.write(f"{problem}\n")
            sys.stdout.flush()
            time.sleep(1)


if __name__ == "__main__":
    main()
