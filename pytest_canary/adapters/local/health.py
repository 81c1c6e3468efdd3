"""What a build on this machine says about itself over HTTP."""

from __future__ import annotations

import http.client
import json

from pytest_canary.identity import of_models
from pytest_canary.ports import Readiness

TIMEOUT_SECONDS = 2.0
HOST = "127.0.0.1"


def ask_ready(port: int, path: str) -> Readiness:
    """Whether ``path`` answers 2xx."""
    try:
        status, _ = _get(port, path)
    except (OSError, http.client.HTTPException) as error:
        return Readiness(False, f"GET {path} on port {port}: {_short(error)}")
    return Readiness(True) if 200 <= status < 300 else Readiness(False, f"GET {path} on port {port} answered {status}")


def ask_model(port: int) -> str | None:
    """What ``/v1/models`` lists, as :func:`~pytest_canary.identity.of_models` writes it; None when nobody says."""
    try:
        status, body = _get(port, "/v1/models")
        return of_models(json.loads(body)) if status == 200 else None
    except (OSError, http.client.HTTPException, ValueError, RecursionError):
        return None


def _get(port: int, path: str) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection(HOST, port, timeout=TIMEOUT_SECONDS)
    try:
        connection.request("GET", path, headers={"Connection": "close"})
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


def _short(error: Exception) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or str(error) or type(error).__name__
