"""Headers that a target's own requests carry, such as a key: what probe and load both send, and never show."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator, model_validator

from pytest_canary.adapters.access import hidden

NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
VALUE = re.compile(r"[\t\x20-\x7e]*")
OURS = ("host", "content-length", "content-type", "transfer-encoding", "connection")
"""What only the client itself can say."""


class Sends(BaseModel):
    """Options of whoever sends requests to builds."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    headers: dict[str, SecretStr] = Field(default_factory=dict)
    """What every request carries besides: ``{authorization: "Bearer ${KEY}"}``."""

    @model_validator(mode="before")
    @classmethod
    def _hide(cls, given: Any) -> Any:
        """Wrap values before anything can be wrong with them: a message shows what it found."""
        if not isinstance(given, Mapping) or "headers" not in given:
            return given
        return {**given, "headers": hidden(given["headers"])}

    @field_validator("headers")
    @classmethod
    def _can_be_sent(cls, headers: dict[str, SecretStr]) -> dict[str, SecretStr]:
        for name, value in headers.items():
            if not NAME.fullmatch(name) or name.lower() in OURS:
                raise ValueError(f"names of headers besides {', '.join(OURS)}, found {name!r}")
            if not VALUE.fullmatch(value.get_secret_value()):
                raise ValueError(f"a value for {name!r} in one line of ASCII")
        return headers

    @property
    def plain_headers(self) -> dict[str, str]:
        """What is sent; names in lower case."""
        return {name.lower(): value.get_secret_value() for name, value in self.headers.items()}
