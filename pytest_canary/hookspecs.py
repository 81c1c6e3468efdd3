"""The questions a conftest.py or an installed package can answer: adapters of its own, and events."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from pytest_canary.outcome import Outcome, Row
    from pytest_canary.ports import MetricSource, Platform, Probe, Router, Shared, Users


@pytest.hookspec(firstresult=True)
def pytest_canary_platform(name: str, options: Mapping[str, Any], shared: Shared) -> Platform | None:
    """Return the platform that a rollout.yaml calls ``name``, or None to let another answer."""


@pytest.hookspec(firstresult=True)
def pytest_canary_router(name: str, options: Mapping[str, Any], shared: Shared) -> Router | None:
    """Return the router that a rollout.yaml calls ``name``, or None to let another answer."""


@pytest.hookspec(firstresult=True)
def pytest_canary_metrics(name: str, options: Mapping[str, Any], shared: Shared) -> MetricSource | None:
    """Return the metric source that a rollout.yaml calls ``name``, or None to let another answer."""


@pytest.hookspec(firstresult=True)
def pytest_canary_load(name: str, options: Mapping[str, Any], shared: Shared) -> Users | None:
    """Return the load generator that a rollout.yaml calls ``name``, or None to let another answer."""


@pytest.hookspec(firstresult=True)
def pytest_canary_probe(name: str, options: Mapping[str, Any], shared: Shared) -> Probe | None:
    """Return what asks a build directly that a rollout.yaml calls ``name``, or None to let another answer."""


@pytest.hookspec
def pytest_canary_row(row: Row) -> None:
    """A step of the rollout has ended: deploy, smoke, a shift, a rollback.  Errors raised here change nothing."""


@pytest.hookspec
def pytest_canary_outcome(outcome: Outcome) -> None:
    """The rollout is over.  Errors raised here change nothing."""
