"""Which built-in profile fits, where a target names none."""

from __future__ import annotations

from pytest_canary.adapters.profiles import BUILT_IN, load
from pytest_canary.adapters.scrape.exposition import Exposition
from pytest_canary.adapters.scrape.options import ScrapeOptions
from pytest_canary.adapters.scrape.reading import Reading
from pytest_canary.adapters.scrape.targets import Target
from pytest_canary.errors import SourceUnavailable
from pytest_canary.ports import Shared


def found_out(page: Exposition, target: Target, options: ScrapeOptions, shared: Shared) -> Reading:
    """The first that fits what the role's ``page`` has; says so, and what else would fit.

    A proxy counts for builds of any kind: its profiles are tried where the target says which labels tell the roles.

    Raises:
        SourceUnavailable: none does.

    """
    place = options.roles.get(target.role)
    known = [load(name, shared.home, "scrape") for name in BUILT_IN]
    tried = [profile for profile in known if profile.replica or (place and place.match)]
    fitting = [reading for profile in tried if (reading := Reading(profile)).fits(page, target.conditions)]
    if not fitting:
        raise SourceUnavailable(
            f"{next(iter(target.pages.values()))} has no series of {target.role} that a built-in profile knows "
            f"({', '.join(profile.name for profile in tried)}); write your own and name it in `metrics.scrape.profile`"
        )
    chosen, *others = (reading.profile.name for reading in fitting)
    fit = f" ({', '.join(others)} would fit too)" if others else ""
    say = f"metrics are read by profile {chosen}, found out{fit}; `metrics.scrape.profile` chooses another"
    shared.note("scrape", profile=chosen, say=say)
    return fitting[0]
