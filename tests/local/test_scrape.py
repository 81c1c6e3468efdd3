"""The example as a user runs it, judged by what its builds count themselves."""

from __future__ import annotations

import pytest

from pytest_canary.adapters.envoy.machine import find_binary
from tests.local.rehearsal import Site

pytestmark = pytest.mark.skipif(find_binary(None) is None, reason="Envoy is not installed")


@pytest.fixture
def site(tmp_path):
    """The example, with one line of its rollout.yaml changed."""
    made = Site(tmp_path)
    file = tmp_path / "rollouts" / "inference_gateway" / "rollout.yaml"
    text = file.read_text()
    assert text.count("metrics: {envoy: {}}") == 1
    file.write_text(text.replace("metrics: {envoy: {}}", "metrics: {scrape: {}}"))
    yield made
    made.end()


def test_a_good_build_is_promoted_by_what_it_counts_itself(site):
    """No Prometheus, and no numbers of the proxy's."""
    run = site.run(build="v2")

    assert run.exit == 0, run.out
    assert run.report["end"] == "promoted"
    assert run.report["users"]["dropped"] == 0
    assert "metrics are read by profile demo-gateway, found out" in run.out


def test_a_build_with_errors_is_rolled_back_by_what_it_counts_itself(site):
    """Its own 5xx convict it."""
    run = site.run(build="v2-errors", hold="30s")
    convicted = {verdict["gate"] for verdict in run.report["verdicts"] if verdict["status"] == "fail"}

    assert (run.exit, run.report["end"]) == (1, "rolled back"), run.out
    assert convicted == {"error_rate"}
    assert run.report["users"]["dropped"] == 0
