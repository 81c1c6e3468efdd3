"""What a unit test hands to the helpers, read as it was meant or refused in one line."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from pytest_canary.errors import UsageError


def texts(given: object, name: str, example: str) -> list[str]:
    """One text or several.

    Raises:
        UsageError: it is neither.

    """
    found = [given] if isinstance(given, str) else list(given) if isinstance(given, Sequence) else [given]
    for one in found:
        if not isinstance(one, str):
            raise UsageError(f"{name}: found {one!r}, expected a text such as {example!r}, or a list of them")
    return [one for one in found if isinstance(one, str)]


def seed_of(given: object) -> int:
    """A seed.

    Raises:
        UsageError: it is no whole number, or below 0.

    """
    if isinstance(given, bool) or not isinstance(given, int) or given < 0:
        raise UsageError(f"seed: found {given!r}, expected a whole number, 0 or more")
    return given


def seeds_of(given: int | Iterable[int]) -> list[int]:
    """So many seeds from 1 on, or these.

    Raises:
        UsageError: there are none, of which every assertion holds; or one is no seed.

    """
    if isinstance(given, int):
        found = list(range(1, given + 1))
    elif isinstance(given, Iterable):
        found = [seed_of(one) for one in given]
    else:
        raise UsageError(f"seeds: found {given!r}, expected how many, such as 20, or a list of them")
    if not found:
        raise UsageError(f"seeds: found {given!r}, expected one at least: whatever is asserted of none holds")
    return found


def name_of(test: Callable[..., None]) -> str:
    """How a test is called in what is said of it; one that was bound has the name of what it binds.

    Raises:
        UsageError: it cannot be called.

    """
    if not callable(test):
        raise UsageError(f"tests: found {test!r}, expected functions such as the one of a test file")
    found = getattr(test, "__name__", None) or getattr(getattr(test, "func", None), "__name__", None)
    return str(found or type(test).__name__)
