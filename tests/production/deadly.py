"""A conftest.py that kills its own process (-9) before or after one of its writes to the API server.

`KILL="PATCH httproutes#2 after"` names the write and the moment; `KILL_GUARD=1` lets the local guard die with
the run, as when the whole machine goes.  Every write is listed in `writes.txt` beside this file; renewals of the Lease,
what a metric source remarks, and a write that is tried again come when they come and are none.
"""

from __future__ import annotations

import json
import os
import re
import signal
import sys
from pathlib import Path
from typing import Any

RUNS = any(word.startswith("--image") for word in sys.orig_argv)
WANTED = os.environ.get("KILL", "")
SEEN: dict[str, int] = {}
LAST: dict[str, str] = {}
REMARKS = ("prometheus", "scrape")


def die() -> None:
    """No handler, no finally, no atexit; and nobody of this machine who would notice."""
    if os.environ.get("KILL_GUARD"):
        for task in Path("/proc/self/task").iterdir():
            for child in (task / "children").read_text().split():
                os.kill(int(child), signal.SIGKILL)
    os.kill(os.getpid(), signal.SIGKILL)


def label(method: str, path: str, body: Any) -> str:
    """``PATCH httproutes#2``; empty for what is no write, or is one that has no place in the order."""
    if method == "GET" or "/apis/authorization" in path:
        return ""
    if isinstance(body, list) and all(one["path"] in ("/spec/holderIdentity", "/spec/renewTime") for one in body):
        return ""
    where, said = f"{method} {path}", without_versions(body)
    again, LAST[where] = LAST.get(where) == said, said
    if again or newest_fact(body) in REMARKS:
        return ""
    kinds = ("deployments", "services", "jobs", "leases", "httproutes", "serviceaccounts", "rolebindings", "roles",
             "horizontalpodautoscalers")  # fmt: skip
    kind = next((each for each in kinds if f"/{each}" in path), path)
    what = f"{method} {kind}"
    SEEN[what] = SEEN.get(what, 0) + 1
    return f"{what}#{SEEN[what]}"


def without_versions(body: Any) -> str:
    """What a write is to change: the same when it is tried again, on another version of the object."""
    if isinstance(body, list):
        body = [one for one in body if not one["path"].endswith(("/resourceVersion", "/renewTime"))]
    return re.sub(r'"resourceVersion": "\d+"', "", json.dumps(body, sort_keys=True))


def newest_fact(body: Any) -> str:
    """The kind of the fact that a patch of the Lease adds; empty for anything else."""
    told = [one["value"] for one in body if "annotations" in one["path"]] if isinstance(body, list) else []
    try:
        return str(json.loads(told[0])[-1]["kind"]) if told else ""
    except (ValueError, LookupError, TypeError):
        return ""


def pytest_configure(config: Any) -> None:
    """Stand before every request of the run."""
    del config
    if not RUNS:
        return
    from pytest_canary.adapters.kube import Cluster

    once = Cluster._once

    def watched(self: Any, method: str, path: str, body: Any, *more: Any) -> Any:
        name = label(method, path, body)
        if name:
            with Path(__file__).with_name("writes.txt").open("a") as file:
                file.write(f"{name} {newest_fact(body) or (json.dumps(body)[:160] if body is not None else '')}\n")
        if name and f"{name} before" == WANTED:
            die()
        answer = once(self, method, path, body, *more)
        if name and f"{name} after" == WANTED:
            die()
        return answer

    Cluster._once = watched  # type: ignore[method-assign]
