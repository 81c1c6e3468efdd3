"""What a target says about its Prometheus."""

from __future__ import annotations

from pydantic import Field, model_validator

from pytest_canary.adapters.access import Access
from pytest_canary.adapters.profiles import Matchers
from pytest_canary.ports import Role


class PrometheusOptions(Access):
    """Where Prometheus is, how it lets us in, and what to ask it.  Times are seconds."""

    url: str
    """Where the query API is, without ``/api/v1``."""
    profile: str | None = None
    """A built-in profile's name, or a file ending in ``.toml``; found out from the baseline's metrics when None."""
    labels: Matchers = Field(default_factory=dict)
    """More labels that every series must have: ``{job: gateway, cluster: "=~eu-.*"}``."""
    roles: dict[Role, Matchers] = Field(default_factory=dict)
    """What tells a role's series from the others', in place of the profile's ``select``: ``{canary: {job: gw-b}}``."""
    scrape_interval: float | None = Field(default=None, gt=0)
    """How often pods are scraped; found out when None."""
    timeout: float = Field(default=5.0, gt=0)
    """The longest that one look may take, all its queries and tries together."""
    tenant: str | None = None
    """Sent as ``X-Scope-OrgID``, for Mimir, Cortex and Thanos."""

    @model_validator(mode="after")
    def _every_role_is_told(self) -> PrometheusOptions:
        nobody = [str(role) for role, labels in self.roles.items() if not labels]
        if nobody:
            raise ValueError(f"`roles.{nobody[0]}` with at least one label")
        if len(self.roles) == 1:
            raise ValueError("`roles` for baseline and canary, found one of them")
        return self
