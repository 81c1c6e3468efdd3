"""Which other tool rolls an object out already."""

from __future__ import annotations

from pytest_canary.adapters.kube.names import Json

TOOLS = {"Canary": "Flagger", "Rollout": "Argo Rollouts"}
"""Kind of an owner -> the tool whose kind that is."""


def owner(thing: Json) -> str:
    """The tool that ``thing`` belongs to, by its owners and marks; empty when it belongs to none."""
    about = thing["metadata"]
    for one in about.get("ownerReferences") or []:
        if one.get("kind") in TOOLS:
            return f"{TOOLS[one['kind']]} ({one['kind']} {one.get('name')})"
    notes = {**(about.get("labels") or {}), **(about.get("annotations") or {})}
    if any(key.startswith("rollouts.argoproj.io/") for key in notes):
        return "Argo Rollouts"
    return "Flagger" if notes.get("app.kubernetes.io/managed-by") == "flagger" else ""
