"""The page about rollout.yaml, the README and the example say what the code does."""

import importlib
import re
from pathlib import Path

import pytest
from pydantic import BaseModel

from pytest_canary.gates import names
from pytest_canary.plan import declared_gates, stages_of
from pytest_canary.spec import load
from pytest_canary.spec.document import Document, GateEntry
from pytest_canary.spec.stages import LADDERS
from pytest_canary.world import BUILT_IN

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/rollout-yaml.md").read_text()
EXAMPLES = [
    block
    for name in (
        "docs/rollout-yaml.md",
        "docs/scrape.md",
        "docs/litellm.md",
        "docs/model-servers.md",
        "README.md",
    )
    for block in re.findall(r"```yaml\n(.*?)```", (ROOT / name).read_text(), re.DOTALL)
]


def inner(model):
    """Every key of ``model`` and of the models in it."""
    for name, info in model.model_fields.items():
        yield info.alias or name
        for part in (info.annotation, *getattr(info.annotation, "__args__", ())):
            if isinstance(part, type) and issubclass(part, BaseModel):
                yield from inner(part)


@pytest.mark.parametrize("key", sorted({*inner(Document), *inner(GateEntry)}))
def test_every_key_stands_on_the_page(key):
    """A key that nobody can find does not exist."""
    assert f"`{key}`" in PAGE


@pytest.mark.parametrize("name", [*names(), *LADDERS, *(one for known in BUILT_IN.values() for one in known)])
def test_every_metric_ladder_and_adapter_stands_on_the_page(name):
    """What is there must be findable."""
    assert f"`{name}`" in PAGE


@pytest.mark.parametrize(
    ("kind", "name"), [("platform", "local"), ("router", "envoy"), ("load", "load"), ("probe", "http")]
)
def test_every_option_of_the_local_target_stands_on_the_page(kind, name):
    """With its default and meaning."""
    options = importlib.import_module(f"pytest_canary.adapters.{name}").OFFERS[kind].Options
    rows = re.findall(r"^\| `(\w+)` \|", PAGE[PAGE.index("## Adapters") :], re.MULTILINE)

    assert set(options.model_fields) <= set(rows)


def test_every_option_of_a_scrape_stands_on_its_page():
    """With its default and meaning."""
    options = importlib.import_module("pytest_canary.adapters.scrape").OFFERS["metrics"].Options
    told = (ROOT / "docs/scrape.md").read_text()
    rows = re.findall(r"^\| `(\w+)` \|", told[told.index("## Options") : told.index("## Where")], re.MULTILINE)

    assert set(options.model_fields) - {"bearer_file"} == set(rows)
    assert "`bearer_file`" in told


@pytest.mark.parametrize("text", EXAMPLES, ids=range(len(EXAMPLES)))
def test_every_example_loads(tmp_path, text):
    """Examples are copied."""
    (tmp_path / "rollout.yaml").write_text(text)
    spec = load(tmp_path / "rollout.yaml", environ={"LITELLM_MASTER_KEY": "sk-1", "LITELLM_KEY": "sk-2"})

    assert stages_of(spec, "rollout.yaml")
    assert declared_gates(spec)
    for kind in ("platform", "router", "metrics", "load", "probe"):
        choice = getattr(spec, kind)
        if choice is not None:
            offered = importlib.import_module(f"pytest_canary.adapters.{choice.name.replace('-', '_')}").OFFERS[kind]
            offered.Options.model_validate(choice.options)


def test_the_examples_production_target_reads_the_variables_of_the_script_it_replaces():
    """Whoever changes over changes one line of CI."""
    spec = load(
        ROOT / "rollouts/inference_gateway/rollout.yaml",
        target="production",
        environ={
            "GATEWAY_NAMESPACE": "inference", "PROM_BASE": "https://prom", "STAGES": "10 100", "STAGE_HOLD_S": "60",
            "ERROR_RATE_REGRESSION": "2", "P99_REGRESSION": "1.4", "WARMUP_S": "30", "MIN_REQUESTS": "50",
        },
    )  # fmt: skip
    limits = {gate.name: gate.limits.ratio for gate in declared_gates(spec)}

    assert [stage.weight for stage in stages_of(spec, "r")] == [0.1, 1.0]
    assert (spec.document.hold, spec.document.min_requests, spec.document.warmup.seconds) == (60, 50, 30)
    assert (limits["error_rate"], limits["latency_p99"]) == (2.0, 1.4)
    assert spec.platform.options["namespace"] == "inference"
