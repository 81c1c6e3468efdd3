"""By which labels others choose pods, and how a copy's pods are kept out of their sight."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pytest_canary.adapters.kube import Cluster, Json, Refused, short

EMPTY: Json = {}


def query(labels: Mapping[str, str]) -> str:
    """``labels`` as the API server is asked for them."""
    return ",".join(f"{key}={value}" for key, value in labels.items())


def of_service(service: Json) -> Json:
    """The selector of a Service as those of all other kinds are written."""
    return {"matchLabels": service["spec"].get("selector") or {}}


def foreign(cluster: Cluster) -> list[Json]:
    """Those of the Services, disruption budgets and network policies of the namespace."""
    found = [of_service(one) for one in cluster.find("services")]
    found += [one["spec"].get("selector") or EMPTY for one in cluster.find("poddisruptionbudgets")]
    try:
        found += [one["spec"].get("podSelector") or EMPTY for one in cluster.find("networkpolicies")]
    except Refused as error:
        if error.status != 403:  # may be kept from us: it opens and closes ways, it sends nobody anywhere
            raise
    return found


def chooses(selector: Json, labels: Mapping[str, str]) -> bool:
    """Whether ``selector`` names what has ``labels``; one that names everything is not meant for anybody."""
    wanted, more = selector.get("matchLabels") or {}, selector.get("matchExpressions") or []
    named = all(labels.get(key) == value for key, value in wanted.items())
    return bool(wanted or more) and named and all(_holds(one, labels) for one in more)


def _holds(expression: Json, labels: Mapping[str, str]) -> bool:
    value, values = labels.get(expression["key"]), expression.get("values") or []
    holds: Mapping[str, bool] = {
        "In": value in values,
        "NotIn": value not in values,
        "Exists": value is not None,
        "DoesNotExist": value is None,
    }
    return holds.get(expression["operator"], False)


def hidden(labels: Mapping[str, str], selectors: Sequence[Json], copy_name: str) -> dict[str, str]:
    """``labels`` with other values, or without those, by which one of ``selectors`` would choose the copy."""
    left: dict[str, Any] = dict(labels)
    for selector in selectors:
        if chooses(selector, left):
            more = selector.get("matchExpressions") or []
            keys = [*(selector.get("matchLabels") or {}), *(one["key"] for one in more if one["operator"] == "In")]
            left |= {key: short(f"{left[key]}-{copy_name}".lstrip("-")) for key in keys}
            for key in [one["key"] for one in more if one["operator"] == "Exists" and not keys]:
                del left[key]
    return left
