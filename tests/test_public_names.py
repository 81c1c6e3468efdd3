"""What may be relied on: the names of ``pytest_canary`` itself, and that they cost nothing until they are used."""

from __future__ import annotations

import ast
import dataclasses
import importlib
import inspect
import json
import re
import subprocess
import sys
import typing
from pathlib import Path

import pytest

import pytest_canary
from pytest_canary import errors, hookspecs, outcome, ports

ROOT = Path(__file__).parents[1]
HEAVY = ("httpx", "kubernetes", "numpy", "prometheus_api_client", "prometheus_client", "pydantic", "tenacity", "yaml")

PROMISED = {
    "what the fixtures hand to a test": "BaselineView CanaryView RolloutView Side StageView Warmed Plan Stage",
    "what the event hooks are told": "By Counted Cut Drained End Outcome Pinned Row Status Verdict",
    "what an adapter implements": (
        "Adapter Clock Explains Foresees Ledger MetricSource NamesModels Platform Probe Probes Remembers Router Users "
        "World"
    ),
    "what an adapter is given and gives": (
        "Answer Asked Change Fact Fault Foreseen Histogram Probed Prompt Readiness Replicas Revision Role Sample Seen "
        "Shared Weights"
    ),
    "what can go wrong": (
        "AdapterError BaselineFailed Busy CanaryError Exit GateFailed ImageNotFound LedgerError Lost Missing "
        "ModelMismatch NoData NotRestored NotStarted PlanError RecordingEnds Silent SmokeFailed SourceUnavailable "
        "SpecError SplitNotSeen UsageError"
    ),
    "fakes to test gates and adapters with": (
        "MemoryLedger MemoryMetrics MemoryPlatform MemoryProbe MemoryRouter MemoryUsers MemoryWorld "
        "SystemClock VirtualClock"
    ),
    "the rest": "__version__",
}
"""Who relies on it -> names.  A name that goes from here breaks somebody's rollout."""


FOR_TESTS = "Counts Simulated at_stage counts lognormal simulate simulate_many verdict_of"
"""Of ``pytest_canary.testing``: a team's unit tests rely on them."""


def own_classes(module):
    """Names of the public classes that ``module`` defines."""
    members = inspect.getmembers(module, inspect.isclass)
    return {name for name, cls in members if cls.__module__ == module.__name__ and not name.startswith("_")}


def known_after(code, folder=ROOT):
    """The modules that a fresh interpreter has loaded after ``code``, in which ``say()`` prints them."""
    say = "import json, sys\ndef say(): print('MODULES', json.dumps(sorted(sys.modules)), flush=True)\n"
    done = subprocess.run([sys.executable, "-c", say + code], cwd=folder, capture_output=True, text=True, check=False)
    found = re.search(r"MODULES (\[.*\])", done.stdout)
    assert found, done.stdout + done.stderr
    return set(json.loads(found[1]))


def test_exactly_the_promised_names_are_public():
    """A new name is a promise, so it is made on purpose."""
    promised = [name for names in PROMISED.values() for name in names.split()]

    assert sorted(pytest_canary.__all__) == sorted(promised)
    assert len(promised) == len(set(promised))


def test_exactly_the_promised_names_help_to_test():
    """They are imported by test files, so a name that goes breaks somebody's."""
    from pytest_canary import testing

    assert sorted(testing.__all__) == sorted(FOR_TESTS.split())
    assert all(getattr(testing, name).__doc__ for name in testing.__all__)


@pytest.mark.parametrize("name", pytest_canary.__all__)
def test_each_public_name_can_be_imported(name):
    """Lazy names are found when they are used, so a slip of the pen shows nowhere else."""
    namespace = {}
    exec(f"from pytest_canary import {name}", namespace)

    assert getattr(pytest_canary, name) is namespace[name]
    assert name in dir(pytest_canary)


def test_type_checkers_see_the_same_names():
    """What an editor offers is what Python finds, and from the same module."""
    tree = ast.parse(Path(pytest_canary.__file__).read_text())
    block = next(node for node in tree.body if isinstance(node, ast.If))
    seen = {alias.asname: node.module for node in block.body for alias in node.names}

    assert set(seen) == set(pytest_canary.__all__) - {"__version__"}
    for name, module in seen.items():
        assert getattr(importlib.import_module(module), name) is getattr(pytest_canary, name)


def test_a_wrong_name_is_an_attribute_error_like_everywhere():
    """`hasattr` and `from ... import` depend on it."""
    assert not hasattr(pytest_canary, "Canarie")
    with pytest.raises(ImportError, match="Canarie"):
        exec("from pytest_canary import Canarie")


def test_every_port_and_every_value_that_crosses_one_is_public():
    """Whoever writes an adapter needs all of them."""
    assert own_classes(ports) <= set(pytest_canary.__all__)


def test_every_error_is_public():
    """Whoever catches one should not have to know where it lives."""
    assert own_classes(errors) <= set(pytest_canary.__all__)


def test_everything_an_event_hook_is_told_is_public():
    """An outcome whose parts have no name cannot be annotated."""
    told = own_classes(outcome)
    for cls in (pytest_canary.Outcome, pytest_canary.Row, pytest_canary.Verdict):
        for hint in typing.get_type_hints(cls).values():
            parts = [hint, *typing.get_args(hint), *(a for p in typing.get_args(hint) for a in typing.get_args(p))]
            told |= {part.__name__ for part in parts if getattr(part, "__module__", "").startswith("pytest_canary")}

    assert told >= {"Outcome", "Row", "Verdict", "Cut", "Drained", "Seen", "Revision", "End", "Status", "Counted"}
    assert told <= set(pytest_canary.__all__)


def test_everything_in_the_signature_of_a_hook_is_public():
    """A conftest.py that answers a hook can be checked by a type checker."""
    hooks = [value for name, value in vars(hookspecs).items() if name.startswith("pytest_canary_")]
    source = " ".join(str(hint) for hook in hooks for hint in inspect.get_annotations(hook).values())
    named = set(re.findall(r"[A-Z]\w+", source)) - {"Any", "Mapping", "None"}

    assert len(hooks) >= 6
    assert named <= set(pytest_canary.__all__)


def test_every_name_that_pages_and_docstrings_use_is_public():
    """What is shown is copied."""
    texts = [p for folder in ("docs", "rollouts") for p in (ROOT / folder).rglob("*") if p.suffix in (".md", ".py")]
    texts += [ROOT / "README.md", ROOT / "conftest.py", *(ROOT / "pytest_canary").rglob("*.py")]
    used = set()
    for path in texts:
        text = path.read_text()
        used |= set(re.findall(r"\bpytest_canary\.([A-Z]\w+)", text))
        for names in re.findall(r"from pytest_canary import \(?([\w, \n]+)", text):
            used |= set(re.findall(r"\b[A-Z]\w+", names))

    assert used
    assert used <= set(pytest_canary.__all__)


def test_frozen_values_stay_frozen():
    """A listener cannot change what the next one is told."""
    for name in ("Outcome", "Row", "Verdict", "Revision", "Sample", "Seen", "Drained", "Cut", "Plan", "Stage"):
        assert getattr(pytest_canary, name).__dataclass_params__.frozen, name
        assert dataclasses.is_dataclass(getattr(pytest_canary, name))


def test_importing_the_package_loads_nothing_heavy():
    """It stands at the top of every conftest.py that listens."""
    before, after = known_after("say()"), known_after("import pytest_canary; say()")

    assert not {name for name in after - before if name.split(".")[0] in HEAVY}
    assert {name for name in after - before if name.startswith("pytest_canary")} == {"pytest_canary"}


def test_importing_ports_and_errors_loads_nothing_heavy():
    """An adapter needs no more than these, and its package may be installed where nobody rolls anything out."""
    after = known_after("from pytest_canary import AdapterError, Router, Sample; say()")

    assert not {name for name in after if name.split(".")[0] in HEAVY}


def test_a_run_without_a_rollout_loads_nothing_heavy(tmp_path):
    """Being installed is no reason to be paid for."""
    (tmp_path / "test_one.py").write_text("def test_one(): pass\n")
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    run = (
        "import os; os.environ['PYTEST_DISABLE_PLUGIN_AUTOLOAD'] = '1'\n"
        "import pytest; code = pytest.main(['-q', '-p', 'no:cacheprovider', *{plugin!r}]); say(); assert code == 0\n"
    )
    without = known_after(run.format(plugin=[]), tmp_path)
    with_us = known_after(run.format(plugin=["-p", "pytest_canary.plugin"]), tmp_path)

    assert "pytest_canary.plugin" in with_us - without
    assert not {name for name in with_us - without if name.split(".")[0] in HEAVY}
    assert {name for name in with_us if name.startswith("pytest_canary.")} == {
        "pytest_canary.plugin",
        "pytest_canary.hookspecs",
    }


def test_the_page_about_python_names_everything_but_the_kinds_of_errors():
    """A public name that no page has is found by nobody."""
    page = (Path(__file__).parents[1] / "docs/gates-in-python.md").read_text()
    kinds = {name for name in pytest_canary.__all__ if _is_error(name)} - {"CanaryError", "AdapterError"}

    assert [name for name in pytest_canary.__all__ if name not in kinds and f"`{name}`" not in page] == ["__version__"]


def _is_error(name):
    found = getattr(pytest_canary, name)
    return isinstance(found, type) and issubclass(found, Exception)
