"""Whether everything that must have passed has passed."""

from __future__ import annotations

from collections.abc import Container, Iterable


def withheld(required: Iterable[str], passed: Container[str], *, stopped: str, narrowed: str) -> str:
    """Why the canary may not be promoted, in one line; empty when it may.

    Promotion needs positive evidence: each of ``required`` (node ids) in ``passed``.  That no failure was seen is none.
    """
    if stopped:
        return stopped
    missing = [name for name in required if name not in passed]
    if missing:
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        why = f" (the run was narrowed by {narrowed})" if narrowed else ""
        return f"{missing[0]}{more} did not pass{why}"
    return f"the run was narrowed by {narrowed}" if narrowed else ""
