"""Which pages stand for which role, and by which labels its series are told there."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit, urlunsplit

from pytest_canary.adapters.profiles import Matchers, Profile, Source, matchers
from pytest_canary.adapters.scrape.conditions import Conditions
from pytest_canary.adapters.scrape.options import Place, ScrapeOptions
from pytest_canary.errors import CanaryError, SourceUnavailable
from pytest_canary.ports import Role, Shared

JOB = "scrape"
REPLICA = "replica"
WRITE = "write `metrics.scrape.roles`, such as {baseline: [http://10.0.0.1:8080], canary: [http://10.0.0.2:8080]}"


@dataclass(frozen=True, slots=True)
class Target:
    """One role at this moment."""

    role: Role
    key: Hashable
    """The same for the same processes, whatever role they have."""
    pages: Mapping[str, str]
    """Replica -> the address of its page."""
    by_replica: bool
    """Whether the replicas are its own, and called as everybody else calls them."""
    match: Matchers
    """What all its series have ..."""
    conditions: Conditions
    """... to be held against labels."""

    def source(self, name: str) -> Source:
        """What counts for one replica and begins anew by itself."""
        return (JOB, self.pages[name], name)


def placed(role: Role, options: ScrapeOptions, shared: Shared) -> bool:
    """Whether there is such a role: a router that tells replicas or labels knows, else the target does."""
    return role in (shared.replicas or shared.labels or options.roles)


def find(role: Role, options: ScrapeOptions, shared: Shared, profile: Profile | None) -> Target:
    """Where ``role`` is now; with a ``profile``, what tells its series too.

    Raises:
        SourceUnavailable: nobody says where it is, or by which labels it is told.

    """
    place, told = options.roles.get(role, Place.model_construct()), shared.replicas.get(role)
    if place.urls:
        bases = {_name(url, place.urls): url for url in place.urls}
        key: Hashable = (place.urls, str(place.match))
    elif told is not None:
        try:
            bases = dict(told.where(options.port))
        except CanaryError as error:
            raise SourceUnavailable(f"{role}: nobody says where its replicas are: {error}") from error
        key = (told.key, str(place.match))
    else:
        raise SourceUnavailable(f"the router of this target does not say where the replicas of {role} are; {WRITE}")
    if not bases:
        raise SourceUnavailable(f"{role}: there is no replica that takes requests, so nothing is counted")
    pages = {name: page(url, options) for name, url in bases.items()}
    match = {**options.labels, **_told_by(role, profile, place, shared)}
    others = {url for other, each in options.roles.items() if other is not role for url in each.urls}
    own = not (place.urls and told) and not others.intersection(place.urls)
    try:
        return Target(role, key, pages, own, match, Conditions(match))
    except ValueError as error:
        raise SourceUnavailable(f"`metrics.scrape`: {error}") from error


def page(url: str, options: ScrapeOptions) -> str:
    """The address of the page at a base URL; one that has a path already is meant as it stands."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise SourceUnavailable(f"{url} is no address that can be scraped; {WRITE}")
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    port = options.port or parts.port
    bare = parts.path in ("", "/") and not parts.query
    netloc = f"{host}:{port}" if port else host
    return (
        urlunsplit(parts._replace(netloc=netloc, path="")) + options.path
        if bare
        else urlunsplit(parts._replace(netloc=netloc))
    )


def told_apart(targets: Mapping[Role, Target]) -> None:
    """Refuse two roles that are read from the same page by the same labels: no difference would ever show.

    Raises:
        SourceUnavailable: two are.

    """
    seen: dict[tuple[str, str], Role] = {}
    for role, one in targets.items():
        for url in one.pages.values():
            other = seen.setdefault((url, str(one.match)), role)
            if other is not role:
                raise SourceUnavailable(
                    f"{other} and {role} are both read from {url}, and nothing tells their series apart; write "
                    "`metrics.scrape.roles` with the `match` of each, such as {baseline: {match: {model_id: a}}, ...}"
                )


def _told_by(role: Role, profile: Profile | None, place: Place, shared: Shared) -> Matchers:
    """Labels of the role's series: what the target says, else what a proxy's profile does; replicas have none."""
    if place.match:
        try:
            return matchers.filled(place.match, shared.labels.get(role, {}))
        except KeyError as error:
            raise SourceUnavailable(
                f"`metrics.scrape.roles` tells {role} by {{{error.args[0]}}}, which the router does not say"
            ) from error
    if profile is None or profile.replica:
        return {}
    try:
        return matchers.filled(profile.select, shared.labels.get(role, {}))
    except KeyError as error:
        raise SourceUnavailable(
            f"profile {profile.name} tells {role} by {{{error.args[0]}}}, which the router does not say; write "
            f"`metrics.scrape.roles`, such as {{baseline: {{match: {{{next(iter(profile.select))}: ...}}}}, ...}}"
        ) from error


def _name(url: str, among: tuple[str, ...]) -> str:
    netloc = urlsplit(url).netloc
    return netloc if sum(urlsplit(other).netloc == netloc for other in among) == 1 else url
