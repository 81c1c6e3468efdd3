"""How each number is learnt, to be pasted into a shell."""

from __future__ import annotations

import shlex
from collections.abc import Mapping

from pytest_canary.adapters.profiles import matchers
from pytest_canary.adapters.scrape.exposition import Exposition
from pytest_canary.adapters.scrape.look import Look
from pytest_canary.adapters.scrape.reading import Part
from pytest_canary.adapters.scrape.targets import Target
from pytest_canary.errors import SourceUnavailable
from pytest_canary.ports import Asked, Role


def explained(look: Look, role: Role) -> Mapping[str, Asked]:
    """Every number of the profile, by the first of its names that there are series of.

    Raises:
        SourceUnavailable: no replica of ``role`` answers.

    """
    one, told = look.targets[role], dict[str, Asked]()
    pages = [page for url in one.pages.values() if isinstance(page := look.pages[url], Exposition)]
    if not pages:
        raise SourceUnavailable(look.silence(one))
    profile = look.reading.profile
    for part in look.reading.parts:
        if part.name.endswith(".sum"):
            continue
        number = sum(len(one.conditions.fitting(page.of(part.metrics))) for page in pages)
        known = told.get(part.number)
        if known is None or (not known.series and number):
            from_zero = part.number.startswith("counters.") and profile.counters[part.name.split(".")[1]].from_zero
            series = None if from_zero and not number else number
            told[part.number] = Asked(_query(part, one), series, f"profile {profile.name}")
    return told


def _query(part: Part, one: Target) -> str:
    names = part.metrics[0] if len(part.metrics) == 1 else f"({'|'.join(part.metrics)})"
    where = matchers.text(one.match, part.match)
    said = part.query or (f"{{{where}}}" if where else "")
    url = next(iter(one.pages.values()))
    more = f"and {len(one.pages) - 1} more" if len(one.pages) > 1 else ""
    comment = "  # " + ", ".join(filter(None, (said, more))) if said or more else ""
    return f"curl -s {shlex.quote(url)} | grep -E {shlex.quote(f'^{names}[{{ ]')}{comment}"
