"""What a target says about the pages that are scraped."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, TypeAlias
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from pytest_canary.adapters.access import Access
from pytest_canary.adapters.profiles import Matchers
from pytest_canary.ports import Role

MEBIBYTE = 1 << 20


def _sound(url: str) -> str:
    try:
        parts = urlsplit(url)
        sound = parts.scheme in ("http", "https") and parts.hostname and (parts.port is None or parts.port > 0)
    except ValueError:
        sound = False
    if not sound:
        raise ValueError("an address such as http://127.0.0.1:8080")
    if parts.username is not None or parts.password is not None:
        raise ValueError("an address without a password; write `basic`")
    return url


Url: TypeAlias = Annotated[str, AfterValidator(_sound)]


class Place(BaseModel):
    """Where one role is, and what its series have that the other's have not; a list is the addresses alone."""

    model_config = ConfigDict(frozen=True, extra="forbid", coerce_numbers_to_str=True)

    urls: tuple[Url, ...] = ()
    """Of its replicas; those that the router tells when there are none."""
    match: Matchers = Field(default_factory=dict)
    """Labels of its series, for one page that tells of both roles: ``{model_id: gw-b}``."""

    @model_validator(mode="before")
    @classmethod
    def _from_a_list(cls, given: Any) -> Any:
        return {"urls": [given] if isinstance(given, str) else given} if isinstance(given, str | list) else given

    @model_validator(mode="after")
    def _says_something(self) -> Place:
        if not self.urls and not self.match:
            raise ValueError("at least one address or label")
        if len(set(self.urls)) < len(self.urls):
            raise ValueError("each address once")
        return self


class ScrapeOptions(Access):
    """Where the pages are, how they let us in, and how much of them is read.  Times are seconds."""

    path: str = Field(default="/metrics", pattern=r"^/")
    port: int | None = Field(default=None, gt=0, lt=65536)
    """The port of the metrics, where it is not that of the users."""
    profile: str | None = None
    """A built-in profile's name, or a file ending in ``.toml``; found out from the baseline's metrics when None."""
    labels: Matchers = Field(default_factory=dict)
    """Labels that every series must have: ``{model_name: llama}``."""
    roles: Mapping[Role, Place] = Field(default_factory=dict)
    """Addresses, for a router that does not tell them: ``{baseline: [http://...], canary: [http://...]}``."""
    timeout: float = Field(default=3.0, gt=0)
    """The longest that a page may take to its last byte."""
    body_limit: int = Field(default=32 * MEBIBYTE, gt=0)
    """Bytes of a page at most, unpacked."""

    @model_validator(mode="after")
    def _both_are_told(self) -> ScrapeOptions:
        if len(self.roles) == 1:
            raise ValueError("`roles` for baseline and canary, found one of them")
        return self
