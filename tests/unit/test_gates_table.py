"""What can be gated by name, and the values a gate consists of."""

import subprocess
import sys

import pytest

from pytest_canary.gates import Gate, Kind, Limits, metric, names


def test_every_name_has_a_metric_of_its_own_name():
    """Nothing in the table is reachable under a wrong name."""
    assert len(names()) == 68
    for name in names():
        found = metric(name)
        assert found is not None
        assert found.name == name


@pytest.mark.parametrize(
    ("name", "kind", "source", "quantile"),
    [
        ("error_rate", Kind.RATE, "errors", 0.0),
        ("client_error_rate", Kind.RATE, "client_errors", 0.0),
        ("latency_p50", Kind.QUANTILE, "latency", 0.5),
        ("latency_p99", Kind.QUANTILE, "latency", 0.99),
        ("ttft_p95", Kind.QUANTILE, "ttft", 0.95),
    ],
)
def test_metrics_say_what_is_counted(name, kind, source, quantile):
    """A rate names a counter, a quantile a histogram."""
    found = metric(name)
    assert found is not None
    assert (found.kind, found.events or found.histogram, found.quantile) == (kind, source, quantile)


def test_an_unknown_name_is_nobody():
    """The caller says what the nearest right name is."""
    assert metric("latency_p42") is None


def test_a_gate_counts_the_kinds_of_limits_it_has_at_any_stage():
    """Alpha is divided by this, so it may not change from stage to stage."""
    gate = Gate("error_rate", metric("error_rate"), Limits(ratio=1.5), stages=((2, Limits(ratio=1.2, max=0.02)),))
    assert gate.kinds() == ("ratio", "max")


def test_values_and_verdicts_load_without_numpy():
    """A pytest run that has nothing to do with us does not pay for numpy."""
    code = "import sys, pytest_canary.plan, pytest_canary.verdict; sys.exit('numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
