"""What a target says about the local platform."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import BaseModel, ConfigDict, Field

PLACEHOLDERS = ("python", "port", "tag", "image", "service", "model")


class LocalOptions(BaseModel):
    """How a build is started on this machine.

    ``command`` and ``verify`` are argument lists in which ``{python} {port} {tag} {image} {service} {model}`` are
    filled in; relative paths are relative to the folder of the rollout.yaml, where they also run.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", coerce_numbers_to_str=True)

    command: tuple[str, ...] = Field(min_length=1)
    """What starts a build; it must listen on ``{port}``."""
    ready: str = Field(default="/health", pattern="^/")
    """The path that answers 2xx as soon as the build can take requests."""
    stable: str = "v1"
    """The build that serves users when a rehearsal begins: a tag, or a whole image."""
    builds: tuple[str, ...] | None = None
    """Tags that exist, ``*`` allowed; None when any tag may."""
    verify: tuple[str, ...] | None = None
    """A command that exits 0 when the tag can be started, in at most 20 s."""
    env: dict[str, str] = Field(default_factory=dict)
    """Environment of every build; a canary's own is put on top."""
    model: str = ""
    """What ``{model}`` stands for where the rollout does not change the model."""
    start_seconds: float = Field(default=60.0, gt=0)
    """How long the stable build may take to become ready."""
    stop_seconds: float = Field(default=30.0, ge=0)
    """How long a build may take to finish what it serves before it is killed."""

    def uses(self, placeholder: str) -> bool:
        """Whether the command asks for ``{placeholder}``."""
        return any(f"{{{placeholder}}}" in part for part in self.command)

    def image(self, service: str) -> str:
        """The stable build as a whole image."""
        return self.stable if {":", "/"} & set(self.stable) else f"{service}:{self.stable}"


def fill(argv: Sequence[str], values: dict[str, str]) -> list[str]:
    """``argv`` with each ``{name}`` of ``values`` filled in; other braces stay as they are."""
    filled = list(argv)
    for name, value in values.items():
        filled = [part.replace(f"{{{name}}}", value) for part in filled]
    return filled
