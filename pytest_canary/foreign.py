"""Adapters whose unexpected errors become errors of an adapter, so that whoever drives them need know only those."""

from __future__ import annotations

from functools import wraps
from typing import Any

from pytest_canary.errors import AdapterError, CanaryError, SourceUnavailable


class Translated:
    """Stands before ``adapter``: what its methods raise is a :class:`CanaryError`, whatever its author thought of.

    A ``poll`` that goes wrong is SourceUnavailable, which may pass; everything else is an AdapterError.
    """

    def __init__(self, adapter: object, where: str) -> None:
        self._adapter, self._where = adapter, where

    def __getattr__(self, name: str) -> Any:
        """Return the adapter's own attribute; a method is translated."""
        found = getattr(self._adapter, name)
        return self._translated(name, found) if callable(found) else found

    def _translated(self, name: str, method: Any) -> Any:
        @wraps(method)
        def call(*args: Any, **named: Any) -> Any:
            try:
                return method(*args, **named)
            except CanaryError:
                raise
            except Exception as error:
                kind = SourceUnavailable if name == "poll" else AdapterError
                raise kind(f"{self._where}: {name} raised {type(error).__name__}: {error}") from error

        return call
