"""What a target says about its HTTPRoute."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field, model_validator

NAME = r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$"


class GuardOptions(BaseModel):
    """The Job that puts the weights back when this run is lost."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    image: str = "python:3.13-alpine"
    """Any image with Python 3.9 or newer."""
    command: tuple[str, ...] = ("python3",)
    service_account: str | None = Field(default=None, pattern=NAME)
    """One that has the rights already; made for the time of the rollout when left out."""
    start_seconds: float = Field(default=60.0, gt=0)
    """How long it may take to run before the first weight."""


class GatewayApiOptions(BaseModel):
    """Which HTTPRoute splits the traffic, and where its users enter."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    route: str = Field(pattern=NAME, max_length=200)
    namespace: str | None = Field(default=None, pattern=NAME)
    """Of the route; the platform's when left out."""
    address: str | None = None
    """Base URL at which users enter; what the Gateway says when left out."""
    settle_seconds: float = Field(default=10.0, gt=0)
    """How long the gateway may take to accept a change."""
    guard: GuardOptions | None = GuardOptions()

    @model_validator(mode="before")
    @classmethod
    def _switch(cls, told: Any) -> Any:
        """``guard: false`` and ``guard: true`` are short for none and the usual one."""
        if isinstance(told, dict):
            word = str(told.get("guard", "")).lower()
            if word == "false":
                return {**told, "guard": None}
            if word == "true":
                return {**told, "guard": GuardOptions()}
        return told
