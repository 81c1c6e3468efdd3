"""`simulate:` is read as its page says, and the examples there are what can be copied."""

import re
from pathlib import Path

import pytest

from pytest_canary.plan import declared_gates
from pytest_canary.simulation.defaults import DEFAULT
from pytest_canary.simulation.spread import quantile
from pytest_canary.simulation.traffic import Score, Spells
from pytest_canary.spec import load, traffic_of

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/rollout-yaml.md").read_text()
SECTION = PAGE[PAGE.index("## Simulation") :].partition("\n## ")[0]
PAGES = SECTION + (ROOT / "docs/simulate.md").read_text()
EXAMPLES = re.findall(r"```(?:yaml)?\n(simulate:.*?)```", PAGES, re.DOTALL)
BASE = """
service: gateway
stages: [5, 100]
gates: {error_rate: {ratio: 1.5}, quality: {delta: 0.1}, tools: {metric: {counter: tool_errors, total: tool_calls}, better: lower, ratio: 2}}
targets:
  local:
    platform: {local: {command: [x], stable: v1}}
    router: {envoy: {}}
    metrics: {envoy: {}}
    load: {rate: 30}
"""  # noqa: E501


def traffic(tmp_path, text=""):
    """The traffic of a rollout.yaml with ``text`` in it."""
    (tmp_path / "rollout.yaml").write_text(BASE + text)
    spec = load(tmp_path / "rollout.yaml", simulated=True, environ={})
    return traffic_of(spec, declared_gates(spec))


@pytest.mark.parametrize("text", EXAMPLES)
def test_every_example_can_be_copied(tmp_path, text):
    """And says something."""
    assert traffic(tmp_path, text if "from:" not in text else "simulate: {}") is not None
    assert len(EXAMPLES) >= 3


def test_what_is_not_said_is_what_the_page_says(tmp_path):
    """Defaults in the table and below it."""
    found = traffic(tmp_path)
    told = dict(re.findall(r"`(\w+)` ([\d.,]+(?: ms)?) \(", SECTION))

    assert found.rate == 30
    for name in ("latency", "ttft", "itl", "queue_time"):
        assert float(told[name].removesuffix(" ms")) == found.values[name].spread.median * 1000
    for name in ("input_tokens", "output_tokens", "cost"):
        assert float(told[name].replace(",", "")) == found.values[name].spread.median
    for name, share in DEFAULT.outcomes.items():
        assert f"`{name}` {share * 100:g}%" in SECTION
    p99 = {name: quantile(values.spread, 0.99) for name, values in DEFAULT.values.items() if name != "quality"}
    shown = [f"{p99[name] * 1000:.0f} ms" for name in ("latency", "ttft", "itl", "queue_time")]
    shown += [f"{p99['input_tokens']:,.0f}", f"{p99['output_tokens']:.0f}", f"{p99['cost']:.3f}"]
    for text in shown:
        assert text in SECTION, text


def test_every_key_says_what_it_says(tmp_path):
    """Gate names and counters for rates; p99 or sigma; metrics of one's own; spells."""
    found = traffic(
        tmp_path,
        """
simulate:
  rate: 12.5
  daily: {swing: 30%, peak: 15h, start: 8h}
  rates: {error_rate: 2%, refusals: 0.05, tool_errors: 10%, cache_hit_rate: 80%}
  values:
    latency: {median: 2s, p99: 10s, buckets: [1s, 2s, 4s, 8s, 16s, 32s]}
    ttft: {sigma: 1}
    quality: {mean: 0.7, among: 20%}
  gauges: {gpu_memory: 0.9}
  pods: 8
  bursts: {every: 20m, for: 20s, errors: 30, latency: 2}
  outages: {every: 2h, for: 1m}
  pod_effect: 0.3
  clumps: 3
""",
    )

    assert (found.rate, found.pods) == (12.5, 8)
    assert (found.daily.swing, found.daily.peak, found.daily.start) == (0.3, 15 * 3600, 8 * 3600)
    assert (found.outcomes["errors"], found.outcomes["refusals"]) == (0.02, 0.05)
    assert (found.parts["tool_errors"].share, found.parts["cache_hits"].share) == (0.1, 0.8)
    assert quantile(found.values["latency"].spread, 0.99) == pytest.approx(10)
    assert found.values["latency"].bounds == (1, 2, 4, 8, 16, 32)
    assert (found.values["ttft"].spread.median, found.values["ttft"].spread.sigma) == (0.06, 1)
    assert (found.values["quality"].spread, found.values["quality"].among) == (Score(0.7, 0.1), 0.2)
    assert found.gauges["gpu_memory"] == 0.9
    assert found.dependence.bursts == Spells(1200, 20, 30, 2)
    assert found.dependence.outages == Spells(7200, 60)
    assert (found.dependence.pods_sd, found.dependence.clumps) == (0.3, 3)
