"""The autoscaler of the stable Deployment: it must not take away pods that users are to come back to."""

from __future__ import annotations

from pytest_canary.adapters.kube import Cluster, Json, Refused

HELD = "pytest-canary/autoscaler-minimum"
"""On the autoscaler itself: the minimum that it had."""


class Autoscaler:
    """Of one Deployment; while a canary has its traffic, it may grow it and not shrink it."""

    def __init__(self, cluster: Cluster, deployment: str) -> None:
        self._cluster, self._deployment = cluster, deployment

    def hold(self, replicas: int) -> None:
        """Never fewer than ``replicas`` pods from now on, where there is an autoscaler and we may change it."""
        try:
            for one in self._ours():
                minimum = one["spec"].get("minReplicas", 1)
                if minimum < replicas:
                    held = (one["metadata"].get("annotations") or {}).get(HELD, str(minimum))
                    self._set(one, min(replicas, one["spec"]["maxReplicas"]), held)
        except Refused as error:
            if error.status not in (403, 404):
                raise

    def let_go(self) -> None:
        """The minimum that it had before.  Safe to repeat."""
        try:
            for one in self._ours():
                held = (one["metadata"].get("annotations") or {}).get(HELD)
                if held is not None:
                    self._set(one, int(held), None)
        except Refused as error:
            if error.status not in (403, 404):
                raise

    def _set(self, one: Json, minimum: int, held: str | None) -> None:
        body = {"metadata": {"annotations": {HELD: held}}, "spec": {"minReplicas": minimum}}
        self._cluster.patch("horizontalpodautoscalers", one["metadata"]["name"], body)

    def _ours(self) -> list[Json]:
        def meant(one: Json) -> bool:
            target = one["spec"]["scaleTargetRef"]
            return bool(target.get("kind") == "Deployment" and target.get("name") == self._deployment)

        return [one for one in self._cluster.find("horizontalpodautoscalers") if meant(one)]
