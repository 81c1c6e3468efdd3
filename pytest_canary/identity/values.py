"""The frozen values: what one source says, what a side serves by all of them, what a build is pinned by."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from pytest_canary.ports import Revision, Role

AND = " + "
"""Between the models of a server that has several."""
DIGEST = "sha256:"
FINGERPRINT = "fingerprint"
"""What ``from`` calls the part of an answer that names a configuration."""


class Source(StrEnum):
    """Who says which model a side serves; what a person has stated stands first."""

    STATED = "stated"
    REGISTRY = "registry reference"
    FILE = "file digest"
    MODELS = "/v1/models"
    HEADER = "response header"
    ANSWERS = "response body"
    LABELS = "metric labels"


OWN = (Source.STATED, Source.REGISTRY, Source.FILE)
"""What the rollout.yaml says; nothing of it is seen at work."""
KEYS = {"models": Source.MODELS, "header": Source.HEADER, "answers": Source.ANSWERS, "labels": Source.LABELS}
"""What ``from`` calls what is seen at work."""
FROM = (*KEYS, FINGERPRINT)


@dataclass(frozen=True, slots=True)
class Stated:
    """What a rollout.yaml says of one side: a text, or the file (or folder) whose digest it is."""

    text: str = ""
    file: str = ""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a plan wants to know about the models of both sides."""

    served: bool = True
    """False where the service serves no model: then nobody is asked."""
    stated: tuple[tuple[Role, Stated], ...] = ()
    sources: tuple[str, ...] = FROM
    header: str = ""
    """Name of the response header that says it; empty where none does."""
    same: bool = True
    """Whether two models are refused."""
    change: bool = False
    """Whether another model is shipped on purpose."""

    def of(self, role: Role) -> Stated | None:
        """What is stated for ``role``."""
        return dict(self.stated).get(role)

    @property
    def compared(self) -> bool:
        """Whether everybody who may know is asked; a plain service may stay as it is."""
        return self.served and (self.same or self.change)


@dataclass(frozen=True, slots=True)
class Said:
    """What one source says that a side serves: a name, a version, or both."""

    source: Source
    name: str = ""
    version: str = ""

    @classmethod
    def by(cls, source: Source, text: str) -> Said:
        """``name@version``; a header without a name holds the version, several models are one long name."""
        text = text.strip()
        if AND in text:
            return cls(source, text)
        name, at, version = text.partition("@")
        return cls(source, "", name) if source is Source.HEADER and not at else cls(source, name, version)

    @property
    def key(self) -> str:
        """What must be equal on both sides: a digest alone, wherever its file lies."""
        return self.version if self.version.startswith(DIGEST) else str(self)

    def __str__(self) -> str:
        return "@".join(filter(None, (self.name, self.version)))


@dataclass(frozen=True, slots=True)
class Identity:
    """What one side serves: one saying of each source that knows, in the order of :class:`Source`."""

    said: tuple[Said, ...] = ()

    def by(self, source: Source) -> Said | None:
        """What this source says."""
        return next((one for one in self.said if one.source is source), None)

    @property
    def own(self) -> Said | None:
        """What the rollout.yaml states."""
        return next((one for one in self.said if one.source in OWN), None)

    @property
    def text(self) -> str:
        """What it is, by the best there is: a statement, else name and version of those who say them first."""
        if self.own is not None:
            return str(self.own)
        name = next((one.name for one in self.said if one.name), "")
        version = next((one.version for one in self.said if one.version), "")
        return "@".join(filter(None, (name, version)))

    def __str__(self) -> str:
        return f"{short(self.text)} ({', '.join(one.source for one in self.said)})"


NOBODY = Identity()


@dataclass(frozen=True, slots=True)
class Pinned:
    """Everything a build is pinned by: its image's digest and its configuration, its model, its policy."""

    revision: Revision
    model: Identity = NOBODY
    policy: str = ""
    """Version of the prompts, guardrails or routing that it runs under, as the rollout.yaml states it."""

    def to_data(self) -> dict[str, Any]:
        """Plain values for a fact or a report, without what the environment holds."""
        return {
            "image": self.revision.image,
            "digest": self.revision.digest,
            "pin": self.revision.pin,
            "model": self.model.text or None,
            "model_said_by": {str(one.source): str(one) for one in self.model.said},
            "policy": self.policy or None,
        }

    def __str__(self) -> str:
        parts = [str(self.revision), short(self.revision.digest)]
        parts += [f"model {self.model}"] if self.model.said else []
        parts += [f"policy {short(self.policy)}"] if self.policy else []
        return ", ".join(filter(None, parts))


def short(text: str) -> str:
    """``text`` with digests by their first twelve digits."""
    return re.sub(rf"({DIGEST}[0-9a-f]{{12}})[0-9a-f]{{52}}", r"\1", text)
