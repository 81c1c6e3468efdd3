"""The page about Kubernetes says what the code does."""

import importlib
import re
from pathlib import Path

import pytest

from pytest_canary.adapters.gateway_api.options import GatewayApiOptions, GuardOptions
from pytest_canary.adapters.kubernetes.options import KubernetesOptions
from pytest_canary.plan import declared_gates, stages_of
from pytest_canary.spec import load

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/kubernetes.md").read_text()
EXAMPLES = [one for one in re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL) if one.startswith("service:")]


def rows(heading):
    """First column of the table below a heading -> second column, without their marks."""
    table = PAGE.partition(f"### `{heading}: {{...}}}}`\n")[2].partition("\n#")[0]
    return {key: default.replace("`", "") for key, default in re.findall(r"^\| `([\w.]+)` \| (.*?) \|", table, re.M)}


def written(default):
    """A default as a rollout.yaml has it."""
    return (
        str(default).lower() if isinstance(default, bool) else f"{default:g}" if isinstance(default, float) else default
    )


@pytest.mark.parametrize(
    ("heading", "options"), [("platform: {kubernetes", KubernetesOptions), ("router: {gateway-api", GatewayApiOptions)]
)
def test_every_option_stands_on_the_page_with_its_default(heading, options):
    """And none that is not there."""
    known = {name: info.default for name, info in options.model_fields.items()}
    if options is GatewayApiOptions:
        known["guard"] = True
        known |= {f"guard.{name}": info.default for name, info in GuardOptions.model_fields.items()}
    plain = {name: written(default) for name, default in known.items() if isinstance(default, bool | float | str)}
    told = rows(heading)

    assert set(told) == set(known)
    assert {name: told[name] for name in plain} == plain


@pytest.mark.parametrize("text", EXAMPLES, ids=range(len(EXAMPLES)))
def test_every_example_loads(tmp_path, text):
    """Examples are copied."""
    (tmp_path / "rollout.yaml").write_text(text)
    spec = load(tmp_path / "rollout.yaml", environ={})

    assert stages_of(spec, "rollout.yaml")
    assert declared_gates(spec)
    for kind in ("platform", "router", "metrics"):
        choice = getattr(spec, kind)
        offered = importlib.import_module(f"pytest_canary.adapters.{choice.name.replace('-', '_')}").OFFERS[kind]
        offered.Options.model_validate(choice.options)


def test_the_pages_name_the_things_in_a_cluster_as_the_code_does():
    """Whoever is on call types these."""
    pages = PAGE + (ROOT / "docs/on-call.md").read_text()
    for path in (ROOT / "pytest_canary/adapters").rglob("*.py"):
        for name in re.findall(r'"(pytest-canary/[a-z-]+)"', path.read_text()):
            if name not in ("pytest-canary/role", "pytest-canary/pin"):
                assert name in pages, (path, name)
