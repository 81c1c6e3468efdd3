"""Rows beside the tests: steps of a rollout, and tests that have no report of their own; through pytest's own hook."""

from __future__ import annotations

import time
from contextlib import suppress
from typing import Any

import pytest

from pytest_canary.outcome import Row

OWN = "canary_step"
"""Keyword of the reports that are ours."""


def report_row(config: pytest.Config, node: str, row: Row, *, skipped: bool = False) -> None:
    """Tell every reporter of ``row``; a reporter that breaks changes nothing."""
    outcome, text, now = "passed" if row.passed else "failed", None, time.time()
    if skipped:
        outcome, text = "skipped", (node, 1, f"Skipped: {row.text}")
    for when in ("setup", "call", "teardown"):
        call = when == "call"
        _tell(
            config,
            nodeid=f"{node}::{row.name}",
            location=(node, 0, row.name),
            outcome=outcome if call else "passed",
            longrepr=(text or (None if row.passed else row.text)) if call else None,
            when=when,
            duration=row.seconds if call else 0.0,
            start=now - row.seconds,
            stop=now,
            # the writer of JUnit reads what was captured from the report of the teardown
            sections=[("Captured stdout call", row.text)] if outcome == "passed" else [],
            _pdbshown=True,  # its line has said it: pytest then leaves it out of what it shows at the end
            user_properties=[("canary.text", row.text), *((f"canary.{k}", v) for k, v in row.numbers.items())],
        )


def report_item(config: pytest.Config, item: pytest.Item, outcome: str, text: str) -> None:
    """Report ``item`` as failed in its call, or skipped before it."""
    failed = outcome == "failed"
    for when in ("call",) if failed else ("setup", "teardown"):
        shown = when != "teardown"
        _tell(
            config,
            nodeid=item.nodeid,
            location=item.location,
            outcome=outcome if shown else "passed",
            longrepr=(text if failed else (str(item.path), 0, text)) if shown else None,
            when=when,
            duration=0,
        )


def _tell(config: pytest.Config, **told: Any) -> None:
    with suppress(Exception):
        config.hook.pytest_runtest_logreport(report=pytest.TestReport(keywords={OWN: 1}, **told))
