"""How an API server says no."""

from __future__ import annotations

from typing import Any

from pytest_canary.adapters.kube.rights import grant_for
from pytest_canary.errors import AdapterError, Silent

NOT_NOW = frozenset({429, 503, 504})
"""Statuses that another attempt may turn into an answer."""


class Refused(AdapterError):
    """The API server said no; ``status`` is the HTTP status."""

    def __init__(self, text: str, status: int) -> None:
        super().__init__(text)
        self.status = status


class Changed(Refused):
    """Somebody else has changed the object meanwhile, or it is there already (409)."""


class Unreachable(Silent):
    """No answer; asking again may help."""


class Busy(Refused, Unreachable):
    """The API server has too much to do.  What it turned away unread may be asked again, whatever it is."""

    @property
    def unread(self) -> bool:
        """Whether nothing can have been done."""
        return self.status == 429


def refusal(method: str, path: str, host: str, status: int, told: Any) -> Refused:
    """The error for an answer that is none; one line."""
    said = " ".join(str(told).split())
    if status in NOT_NOW:
        return Busy(f"the API server {host} is too busy ({status}): {said}", status)
    if status == 401:
        return Refused(f"the API server {host} does not know us: {said}; log in anew", status)
    if status == 403 and 'forbidden: User "' in said:
        return Refused(f"{said}; {grant_for(method, path)}", status)
    if status == 409:
        return Changed(f"{method} {path}: {said}", status)
    return Refused(f"{method} {path}: {said}", status)


def which(kubeconfig: str | None, context: str | None, error: Exception) -> str:
    """One line for a kubeconfig that tells of no cluster."""
    said = " ".join(str(error).split()) or type(error).__name__
    where = kubeconfig or "$KUBECONFIG or ~/.kube/config"
    if context is not None:
        return f"no context {context!r} in {where}: {said}; `kubectl config get-contexts` lists them"
    return f"no cluster to talk to in {where}: {said}; set KUBECONFIG, or `platform.kubernetes.kubeconfig`"
