"""How a server lets us in, as a target says it: headers, tokens, passwords and certificates."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, SecretStr, model_validator

SECRETS = ("bearer", "basic", "headers")


class BasicAuth(BaseModel):
    """Name and password, as HTTP knows them."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    user: SecretStr
    password: SecretStr


class Tls(BaseModel):
    """Files in PEM format, relative to the rollout.yaml."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    ca: str | None = None
    """Who may have signed the server's certificate; the machine's own authorities when None."""
    cert: str | None = None
    """Our certificate, for servers that ask for one."""
    key: str | None = None
    """Its key; None where the file of ``cert`` holds both."""
    insecure: bool = False
    """Believe any certificate."""


class Access(BaseModel):
    """The ways in; at most one of ``bearer``, ``bearer_file`` and ``basic``."""

    model_config = ConfigDict(frozen=True, extra="forbid", coerce_numbers_to_str=True)

    headers: dict[str, SecretStr] = Field(default_factory=dict)
    bearer: SecretStr | None = None
    bearer_file: str | None = None
    """A file that holds the token, read for every request: such tokens are replaced while a run goes on."""
    basic: BasicAuth | None = None
    tls: Tls = Tls()

    @model_validator(mode="before")
    @classmethod
    def _hide_secrets(cls, given: Any) -> Any:
        """Wrap what must never stand in a message, before anything can be wrong with it."""
        if not isinstance(given, Mapping):
            return given
        return {key: hidden(value) if key in SECRETS else value for key, value in given.items()}

    @model_validator(mode="after")
    def _one_way_in(self) -> Access:
        given = [name for name in ("bearer", "bearer_file", "basic") if getattr(self, name) is not None]
        if len(given) > 1:
            raise ValueError(f"one way to log in, found {' and '.join(given)}")
        if self.tls.key and not self.tls.cert:
            raise ValueError("`tls.cert` beside `tls.key`")
        return self


def hidden(value: Any) -> Any:
    """``value`` with every text and number in it behind a SecretStr."""
    if isinstance(value, Mapping):
        return {key: hidden(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [hidden(one) for one in value]
    if value is None or isinstance(value, SecretStr):
        return value
    return SecretStr(str(value))
