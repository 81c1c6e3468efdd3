"""What the pods of a Deployment say about themselves: ready, not yet and why, never, or hurt."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from pytest_canary.adapters.kube import Cluster, Json, Refused
from pytest_canary.ports import Readiness

NEVER = frozenset(
    {"ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull", "CrashLoopBackOff", "CreateContainerConfigError"}
)
"""Reasons to wait that do not pass by waiting."""
NO_SUCH_IMAGE = ("not found", "manifest unknown", "no match for platform", "unauthorized", "denied", "no basic auth")
ROOM_SECONDS = 10.0
"""How long a pod may find no node before nobody is expected to bring one."""


def is_ready(pod: Json) -> bool:
    """Whether the pod takes requests."""
    return _condition(pod, "Ready").get("status") == "True" and not pod["metadata"].get("deletionTimestamp")


def why_not(cluster: Cluster, deployment: Json, pods: Sequence[Json]) -> Readiness:
    """Why a Deployment does not have its pods ready, in one line; hopeless where waiting cannot help."""
    refused = _condition(deployment, "ReplicaFailure")
    if refused.get("status") == "True":
        return Readiness(False, f"the pods are refused: {_short(refused.get('message'))}", hopeless=True)
    waiting = Readiness(False, f"no pod of {deployment['metadata']['name']} was made yet")
    for pod in pods:
        if not is_ready(pod) and not pod["metadata"].get("deletionTimestamp"):
            found = _pod(cluster, pod)
            if found.hopeless:
                return found
            waiting = found
    return waiting


def hurt(pods: Sequence[Json], were_ready: dict[str, tuple[int, str]]) -> str:
    """What has happened to pods that were ready: restarted, out of memory, not ready any more or for a while.

    ``were_ready`` has each such pod's restarts, and since when it was ready, as it was first seen; it is added to.  A
    pod that is being taken away on purpose is not hurt.
    """
    for pod in pods:
        name, restarts = pod["metadata"]["name"], sum(one.get("restartCount", 0) for one in _statuses(pod))
        since = str(_condition(pod, "Ready").get("lastTransitionTime"))
        if pod["metadata"].get("deletionTimestamp"):
            continue
        known, known_since = were_ready.get(name, (restarts, since))
        if restarts > known:
            return f"pod {name} {_restarted(pod)}"
        if name in were_ready and not is_ready(pod):
            return f"pod {name} is not ready any more: {_unready(pod)}"
        if since != known_since:
            return f"pod {name} was not ready for a while, until {since}"
        if is_ready(pod):
            were_ready.setdefault(name, (restarts, since))
    return ""


def nobody(now: Readiness, were_ready: Mapping[str, object]) -> str:
    """That of the pods that were ready none is left, and why, going by how their Deployment is ``now``."""
    return now.why or "no pod takes requests any more" if were_ready and not now.ready else ""


def scaled_to_none(deployment: str, namespace: str) -> str:
    """What to say of a Deployment that is to have no pods."""
    scale = f"kubectl -n {namespace} scale deployment/{deployment} --replicas=N"
    return f"Deployment {deployment} is scaled to 0 pods; `{scale}` brings it back"


def _pod(cluster: Cluster, pod: Json) -> Readiness:
    name = pod["metadata"]["name"]
    scheduled = _condition(pod, "PodScheduled")
    if scheduled.get("status") == "False":
        said = f"pod {name} finds no node: {_short(scheduled.get('message'))}"
        return Readiness(False, said, hopeless=_age(cluster, pod) > ROOM_SECONDS and not _grows(cluster, name))
    for status in _statuses(pod):
        waits = (status.get("state") or {}).get("waiting") or {}
        reason, message = str(waits.get("reason") or ""), str(waits.get("message") or "")
        if reason == "CrashLoopBackOff":
            return Readiness(False, f"pod {name}: {_crash(cluster, pod, status)}", hopeless=True)
        if reason in NEVER or (reason == "ErrImagePull" and any(word in message.lower() for word in NO_SUCH_IMAGE)):
            return Readiness(False, f"pod {name}: {reason}: {_short(message) or _event(cluster, name)}", hopeless=True)
        ended = (status.get("lastState") or {}).get("terminated") or (status.get("state") or {}).get("terminated")
        if ended and not status.get("ready"):
            return Readiness(False, f"pod {name}: {_ended(ended)}")
        if reason:
            return Readiness(False, f"pod {name}: {reason}{': ' + _short(message) if message else ''}")
    return Readiness(False, f"pod {name} is not ready: {_event(cluster, name) or _unready(pod)}")


def _age(cluster: Cluster, pod: Json) -> float:
    made = datetime.fromisoformat(str(pod["metadata"]["creationTimestamp"]).replace("Z", "+00:00"))
    return (cluster.now() - made).total_seconds()


def _statuses(pod: Json) -> list[Json]:
    status = pod.get("status") or {}
    return [*(status.get("initContainerStatuses") or []), *(status.get("containerStatuses") or [])]


def _restarted(pod: Json) -> str:
    ended = [(status.get("lastState") or {}).get("terminated") for status in _statuses(pod)]
    said = [_ended(one) for one in ended if one]
    return f"was restarted: {'; '.join(said) or 'nobody says why'}"


def _ended(ended: Json) -> str:
    reason = ended.get("reason") or "Error"
    said = _short((ended.get("message") or "").strip().rpartition("\n")[2])
    return f"{reason}, exit status {ended.get('exitCode')}" + (f": {said}" if said else "")


def _crash(cluster: Cluster, pod: Json, status: Json) -> str:
    ended = (status.get("lastState") or {}).get("terminated") or {}
    look = f"kubectl -n {cluster.namespace} logs {pod['metadata']['name']} -c {status['name']} --previous"
    return f"CrashLoopBackOff: {_ended(ended)}; see `{look}`"


def _event(cluster: Cluster, pod: str) -> str:
    try:
        events = cluster.find("events", fields=f"involvedObject.name={pod},type=Warning")
    except Refused:
        return ""
    events.sort(key=lambda event: str(event.get("lastTimestamp") or event.get("eventTime") or ""))
    return f"{events[-1].get('reason')}: {_short(events[-1].get('message'))}" if events else ""


def _grows(cluster: Cluster, pod: str) -> bool:
    """Whether somebody is bringing a node for this pod."""
    try:
        events = cluster.find("events", fields=f"involvedObject.name={pod}")
    except Refused:
        return True  # nobody knows, so wait
    return any(event.get("reason") in ("TriggeredScaleUp", "Nominated") for event in events)


def _unready(pod: Json) -> str:
    condition = _condition(pod, "ContainersReady") or _condition(pod, "Ready")
    return _short(condition.get("message")) or str((pod.get("status") or {}).get("phase") or "Pending")


def _condition(thing: Json, kind: str) -> Json:
    conditions: list[Any] = (thing.get("status") or {}).get("conditions") or []
    return next((one for one in conditions if one.get("type") == kind), {})


def _short(text: Any, most: int = 220) -> str:
    """One line; of a long one the beginning and the end, where the reason stands."""
    line, half = " ".join(str(text or "").split()), most // 2
    return line if len(line) <= most else f"{line[: half - 4]} ... {line[-half:].lstrip()}"
