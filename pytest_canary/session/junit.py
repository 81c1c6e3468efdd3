"""Steps of a rollout as rows beside the tests: synthetic reports, through pytest's own hook."""

from __future__ import annotations

import time
from contextlib import suppress

import pytest

from pytest_canary.outcome import Row

OWN = "canary_step"


def report_row(config: pytest.Config, node: str, row: Row, *, skipped: bool = False) -> None:
    """Tell every reporter of ``row``; a reporter that breaks changes nothing."""
    outcome = "skipped" if skipped else "passed" if row.passed else "failed"
    path, name = node, row.name
    now = time.time()
    for when in ("setup", "call", "teardown"):
        call = when == "call"
        text: object = None
        if call and skipped:
            text = (path, 1, f"Skipped: {row.text}")
        elif call and not row.passed:
            text = row.text
        report = pytest.TestReport(
            nodeid=f"{path}::{name}",
            location=(path, 0, name),
            keywords={OWN: 1},
            outcome=outcome if call else "passed",
            longrepr=text,  # type: ignore[arg-type]
            when=when,  # type: ignore[arg-type]
            duration=row.seconds if call else 0.0,
            start=now - row.seconds,
            stop=now,
            # the writer of JUnit reads what was captured from the report of the teardown
            sections=[("Captured stdout call", row.text)] if row.passed and not skipped else [],
            user_properties=[("canary.text", row.text), *((f"canary.{k}", v) for k, v in row.numbers.items())],
        )
        with suppress(Exception):
            config.hook.pytest_runtest_logreport(report=report)
