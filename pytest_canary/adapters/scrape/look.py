"""One look at all replicas of all roles: their pages, and what these say by the profile."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

from pytest_canary.adapters.profiles import Found, Profile, Snapshot, Source, load
from pytest_canary.adapters.scrape.choice import found_out
from pytest_canary.adapters.scrape.client import Pages
from pytest_canary.adapters.scrape.exposition import Exposition, Parser
from pytest_canary.adapters.scrape.options import ScrapeOptions
from pytest_canary.adapters.scrape.reading import Reading
from pytest_canary.adapters.scrape.targets import REPLICA, Target, find, told_apart
from pytest_canary.errors import SourceUnavailable
from pytest_canary.ports import Role, Shared


@dataclass(frozen=True, slots=True)
class Look:
    """What came back, and from when it is on the run's clock."""

    now: float
    wall: float
    """The same moment, seconds since 1970."""
    reading: Reading
    targets: Mapping[Role, Target]
    pages: Mapping[str, Exposition | str]
    """Address -> its page, or why there is none: the end of a sentence."""

    def profile(self, role: Role) -> Profile:
        """The profile as it counts ``role``: by replica, whatever they are called elsewhere, or as a whole."""
        by = REPLICA if self.targets[role].by_replica else None
        return self.reading.profile.model_copy(update={"replica": by})

    def snapshot(self, role: Role) -> Snapshot:
        """What the pages of ``role`` say.

        Raises:
            SourceUnavailable: none says anything, or a number is none.

        """
        one, parts = self.targets[role], dict[str, list[Found]]()
        scraped, down = dict[Source, float](), set[Source]()
        for name, url in one.pages.items():
            source, page = one.source(name), self.pages[url]
            scraped[source] = self.now
            if isinstance(page, str):
                down.add(source)
                continue
            if page.told_at is not None:
                scraped[source] -= max(0.0, self.wall - page.told_at)
            try:
                self.reading.read(page, one.conditions, source, parts)
            except ValueError as error:
                raise SourceUnavailable(f"{role}: {url} has a bucket whose edge is no number ({error})") from error
        if len(down) == len(one.pages):
            raise SourceUnavailable(self.silence(one))
        read = Snapshot.of(self.profile(role), parts, self.now, scraped, frozenset(down))
        if read.odd:
            raise SourceUnavailable(f"{role}: {read.odd}; mend what counts it, or the profile")
        return read

    def why(self, source: Source) -> str:
        """Why there is no page of ``source``, as a sentence without its subject."""
        return str(self.pages[source[1]])

    def kinds(self) -> Mapping[str, str]:
        """Metric -> its type, as the pages announce it."""
        found: dict[str, str] = {}
        for page in self.pages.values():
            found |= page.kinds if isinstance(page, Exposition) else {}
        return found

    def silence(self, one: Target) -> str:
        """Why there is no page of ``one`` at all, in one line."""
        url = next(iter(one.pages.values()))
        others = f", and so do its {len(one.pages) - 1} others" if len(one.pages) > 1 else ""
        return f"{one.role}: {url} {self.pages[url]}{others}"


class Looks:
    """Takes them, one after the other, and finds out by which profile."""

    def __init__(self, options: ScrapeOptions, shared: Shared) -> None:
        self._options, self._shared = options, shared
        self._client = Pages(options, shared.home)
        self._reading = Reading(load(options.profile, shared.home, "scrape")) if options.profile else None
        self._whole: set[str] = set()
        """Pages that were read to the last line once, so that it is known what they are."""

    def take(self, roles: Sequence[Role]) -> Look:
        """Read all pages of ``roles`` at the same time.

        Raises:
            SourceUnavailable: nobody says where they are, no profile fits, or two roles cannot be told apart.

        """
        now, wall = self._shared.clock.now(), self._shared.clock.wall()
        targets = self._targets(roles)
        pages = self._client.all([url for one in targets.values() for url in one.pages.values()], self._parsed)
        if self._reading is None:
            self._reading = self._found_out(targets, pages)
            targets = self._targets(roles)
        told_apart(targets)
        look = Look(now, wall, self._reading, targets, pages)
        _no_overlap(look)
        return look

    def close(self) -> None:
        """Let go of connections.  Safe to repeat."""
        self._client.close()

    def _targets(self, roles: Sequence[Role]) -> dict[Role, Target]:
        profile = self._reading.profile if self._reading else None
        return {role: find(role, self._options, self._shared, profile) for role in roles}

    def _parsed(self, url: str, text: str, content_type: str) -> Exposition:
        parser = self._reading.parser if self._reading and url in self._whole else Parser()
        page = parser.parse(text, content_type)
        self._whole.add(url)
        return page

    def _found_out(self, targets: Mapping[Role, Target], pages: Mapping[str, Exposition | str]) -> Reading:
        """By the first page that there is, preferably one of the baseline."""
        first = sorted(targets.values(), key=lambda one: one.role is not Role.BASELINE)
        for one in first:
            for url in one.pages.values():
                page = pages[url]
                if isinstance(page, Exposition):
                    return found_out(page, one, self._options, self._shared)
        url = next(iter(first[0].pages.values()))
        raise SourceUnavailable(f"{first[0].role}: {url} {pages[url]}")


def _no_overlap(look: Look) -> None:
    """Labels that differ may still mean the same series, all of them or some."""
    for one, other in combinations(look.targets.values(), 2):
        for url in set(one.pages.values()) & set(other.pages.values()):
            page = look.pages[url]
            both = look.reading.overlap(page, one.conditions, other.conditions) if isinstance(page, Exposition) else 0
            if both:
                raise SourceUnavailable(
                    f"{one.role} and {other.role} are both read from {both} of the same series of {url}; check the "
                    "`match` of `metrics.scrape.roles`"
                )
