"""MLServer, asked in the V2 inference protocol and counted by a real Prometheus: shipped by a rollout.yaml."""

from __future__ import annotations

import pytest

from tests.local.model_servers import (
    FOREIGN,
    Server,
    Shipped,
    ended_as_it_deserves,
    exposes_what_its_profile_was_tested_with,
    shipped,
)

PYTHON = FOREIGN / "mlserver" / "bin" / "python"
MLSERVER = Server(
    "mlserver", "triage", PYTHON, "MLSERVER", "scripts/foreign", "/v2/models/triage/ready", "requests.jsonl",
    (str(PYTHON), "start.py"),
)  # fmt: skip
ALL = (
    Shipped("v2"),
    Shipped("v1-again"),
    Shipped("v2-errors", ("error_rate",)),
    Shipped("v2-strict", ("client_error_rate",)),
    Shipped("v2-slow", ("latency_p99",)),
    Shipped("v2-unsure", ("quality",)),
)
"""`v1-again` is v1 under another name, so that nothing differs but chance."""


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Every rollout."""
    with shipped(MLSERVER, ALL, tmp_path_factory.mktemp("mlserver")) as found:
        yield found


@pytest.mark.parametrize("one", ALL, ids=str)
def test_a_model_on_mlserver_is_judged_by_what_mlserver_counts(one, runs):
    """Errors, refused input, time, and how sure the model says it is: each by its own gate."""
    ended_as_it_deserves(runs[one].result(), one)


def test_what_a_running_mlserver_exposes_is_what_its_profile_was_tested_with(tmp_path):
    """A metric that was renamed, or lost a label, would be no data in somebody's rollout; here it has a name."""
    exposes_what_its_profile_was_tested_with(MLSERVER, tmp_path)
