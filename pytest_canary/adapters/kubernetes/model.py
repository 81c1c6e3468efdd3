"""Which model version a build says that it serves."""

from __future__ import annotations

import httpx

from pytest_canary.identity import of_models

TIMEOUT_SECONDS = 5.0


def ask_model(address: str) -> str | None:
    """What ``/v1/models`` lists, as :func:`~pytest_canary.identity.of_models` writes it; None when nobody says."""
    try:
        answer = httpx.get(f"{address}/v1/models", timeout=TIMEOUT_SECONDS)
        return of_models(answer.json()) if answer.status_code == 200 else None
    except (httpx.HTTPError, ValueError, RecursionError):
        return None
