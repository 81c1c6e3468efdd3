"""`scripts/deploy.sh`: the interface of the script this replaces, and with `decide: threshold` its decisions."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pytest_canary.errors import SpecError
from pytest_canary.plan import declared_gates, stages_of
from pytest_canary.spec import load
from tests.promises.conftest import Run, read_junit

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "rollouts/inference_gateway"
NEEDED = {"GATEWAY_NAMESPACE": "inference", "PROM_BASE": "https://prom.internal"}
OLD = ("STAGES", "STAGE_HOLD_S", "ERROR_RATE_REGRESSION", "P99_REGRESSION", "WARMUP_S", "MIN_REQUESTS")

# 2,000 requests per second, looked at 12 seconds after the weight has moved: every count below is a whole number.
MEMORY = """
    clock:    {virtual: {}}
    platform: {memory: {store: world.json, log: world.log}}
    router:   {memory: {}}
    metrics:
      memory:
        rate: 2000
        error_rate: {v1: 0.01, limit: 0.015, above: 0.01584, below: 0.0142, broken: 0.5}
        latency: {v1: 0.05, slower: 0.055, slow: 0.065}
        counts: {refusals: 0, input_tokens: 10, output_tokens: 20}
        values: {itl: 0.02}
    probe:    {memory: {}}
"""
OLD_RULE = (
    *("decide=threshold", "gates.error_rate.catastrophe=false", "gates.client_error_rate.catastrophe=false"),
    *("poll=10s", "baseline.window=5s"),
)
HURRY = {"STAGE_HOLD_S": "9", "WARMUP_S": "1"}


class Clone:
    """A clone of the repository whose example ships to a target in memory."""

    def __init__(self, root):
        self.root, self.home = root, root / "rollouts/inference_gateway"
        shutil.copytree(EXAMPLE, self.home, ignore=shutil.ignore_patterns("test_*", "__pycache__"))
        text, swapped = re.subn(
            r"(?m)(^  production:\n)(?:    (?:platform|router|metrics):.*\n(?:      .*\n)*)+",
            lambda found: found[1] + MEMORY.lstrip("\n"),
            (self.home / "rollout.yaml").read_text(),
        )
        assert swapped == 1
        (self.home / "rollout.yaml").write_text(text)
        (root / "pytest.ini").write_text("[pytest]\njunit_logging = system-out\n")
        (root / "scripts").mkdir()
        shutil.copy(ROOT / "scripts/deploy.sh", root / "scripts")

    def start(self, *args, **variables):
        """Type it, from another folder; the variables of this process do not count."""
        env = {name: value for name, value in os.environ.items() if name not in (*OLD, *NEEDED, "TARGET")}
        env["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), env["PATH"]])
        return subprocess.Popen(
            [str(self.root / "scripts/deploy.sh"), *args],
            cwd=self.root.parent,
            env=env | variables,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def finish(self, process):
        """Wait, and read what happened."""
        out = process.communicate(timeout=60)[0]
        log, junit = self.home / "world.log", self.root / "rollout.xml"
        acts = log.read_text().splitlines() if log.exists() else []
        rows, messages = read_junit(junit) if junit.exists() else ({}, {})
        return Run(process.returncode, acts, rows, messages, out)

    def deploy(self, *args, **variables):
        """Type it, and wait."""
        return self.finish(self.start(*args, **variables))

    def deploy_by_the_old_rule(self, image, **variables):
        """As the old script decided: no early stop, two numbers compared once the stage is served."""
        options = [part for override in OLD_RULE for part in ("--canary-set", override)]
        return self.deploy(image, *options, **HURRY | variables)


@pytest.fixture
def clone(tmp_path):
    """In a path with a space."""
    return Clone(tmp_path / "a clone")


def production(**variables):
    """The production target of the shipped example under these variables, by the old rule."""
    return load(EXAMPLE / "rollout.yaml", target="production", overrides=["decide=threshold"], environ=variables)


# -- the interface --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("args", [(), ("--canary-set", "stages=100")])
def test_without_an_image_it_says_how_it_is_used(clone, args):
    """One line, exit 4, nothing started."""
    run = clone.deploy(*args)

    assert run.exit == 4
    assert re.fullmatch(r"usage: .*IMAGE.*expected an image such as inference-gateway:v2\n", run.out)
    assert not (clone.root / "rollout.xml").exists()


def test_where_pytest_is_not_installed_it_says_what_to_type(clone):
    """A fresh clone is the first thing people have."""
    run = clone.deploy("inference-gateway:v2", PATH="/usr/bin:/bin", HOME=str(clone.root))
    if "no pytest" not in run.out:
        pytest.skip("this machine has a pytest of its own on /usr/bin or /bin")

    assert run.exit == 4
    assert run.out.count("\n") == 1
    assert "pip install" in run.out


def test_the_old_variables_mean_what_they_meant():
    """Pipelines that set them go on working."""
    spec = production(
        **NEEDED,
        STAGES="10 100",
        STAGE_HOLD_S="120",
        MIN_REQUESTS="77",
        WARMUP_S="30",
        ERROR_RATE_REGRESSION="2.5",
        P99_REGRESSION="1.4",
        BASELINE_REVISION="stable",
    )
    gates = {gate.name: gate for gate in declared_gates(spec)}

    assert [(str(s), s.hold_seconds, s.min_requests) for s in stages_of(spec, "r")] == [
        ("10%", 120, 77),
        ("100%", 120, 77),
    ]
    assert spec.document.warmup.seconds == 30
    assert spec.document.baseline.revision == "stable"
    assert gates["error_rate"].limits.ratio == 2.5
    assert gates["latency_p99"].limits.ratio == 1.4
    assert {gate.decide for gate in gates.values()} == {"threshold"}
    assert spec.platform.options["namespace"] == "inference"
    assert spec.metrics.options["url"] == "https://prom.internal"


def test_the_old_defaults_are_the_defaults():
    """Pipelines that set nothing go on working too."""
    spec = production(**NEEDED)
    gates = {gate.name: gate for gate in declared_gates(spec)}

    assert [(str(s), s.hold_seconds, s.min_requests) for s in stages_of(spec, "r")] == [
        (share, 300, 500) for share in ("5%", "25%", "50%", "100%")
    ]
    assert spec.document.warmup.seconds == 90
    assert gates["error_rate"].limits.ratio == 1.5
    assert gates["latency_p99"].limits.ratio == 1.2


@pytest.mark.parametrize("name", NEEDED)
def test_a_variable_that_has_no_default_is_named_when_it_is_missing(name):
    """A namespace is nothing to guess."""
    with pytest.raises(SpecError, match=rf"rollout\.yaml:\d+: .*{name}"):
        production(**{other: value for other, value in NEEDED.items() if other != name})


def test_target_chooses_another_target(clone):
    """The same command rehearses."""
    run = clone.deploy("inference-gateway:v2", TARGET="nowhere")

    assert run.exit == 4
    assert "production" in run.out
    assert "local" in run.out


def test_further_arguments_are_those_of_pytest(clone):
    """`--collect-only` shows the plan and deploys nothing."""
    run = clone.deploy("inference-gateway:v2", "--collect-only", "-q")

    assert run.exit == 0
    assert "error_rate[5%]" in run.out
    assert run.acts == []


def test_a_cancelled_job_reaches_pytest_and_rolls_back(clone):
    """A shell that waited in between would die alone and leave the canary where it is."""
    (clone.home / "test_own.py").write_text(
        "import pathlib, time\n"
        "def test_own(stage):\n"
        "    (pathlib.Path(__file__).parent / 'inside').touch()\n"
        "    time.sleep(60)\n"
    )
    process = clone.start("inference-gateway:v2", "--canary-set", "baseline.window=5s", **HURRY)
    for _ in range(600):
        if (clone.home / "inside").exists() or process.poll() is not None:
            break
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    run = clone.finish(process)

    assert run.exit == 2
    assert run.shifts == [0.0, 0.05, 0.0]
    assert run.did("remove v2")


# -- the decisions of the old script --------------------------------------------------------------------------------


def test_a_good_build_goes_through_the_old_stages_and_exits_with_0(clone):
    """5, 25, 50 and 100 per cent, each held, and the result in rollout.xml."""
    run = clone.deploy_by_the_old_rule("inference-gateway:v2")

    assert run.exit == 0
    assert run.shifts == [0.0, 0.05, 0.25, 0.5, 1.0, 0.0]
    assert run.rows["promote"] == "passed"
    assert "promoted on production" in run.out


def test_exactly_at_the_limit_passes(clone):
    """The old script rolled back when the ratio was greater, not when it was equal."""
    run = clone.deploy_by_the_old_rule("inference-gateway:limit")

    assert run.exit == 0
    for stage, counts in {
        "5%": "canary 18/1200 (1.50%), baseline 228/22800 (1.00%)",
        "25%": "canary 90/6000 (1.50%), baseline 180/18000 (1.00%)",
        "50%": "canary 180/12000 (1.50%), baseline 120/12000 (1.00%)",
        "100%": "canary 360/24000 (1.50%), captured baseline 100/10000 (1.00%)",
    }.items():
        assert counts in run.messages[f"error_rate[{stage}]"]


def test_one_error_more_rolls_back_and_exits_with_1(clone):
    """19 of 1,200 against 1 %: the least that is above 1.5 times."""
    run = clone.deploy_by_the_old_rule("inference-gateway:above")

    assert run.exit == 1
    assert run.shifts == [0.0, 0.05, 0.0]
    assert run.rows["error_rate[5%]"] == "failed"
    assert "canary 19/1200" in run.messages["error_rate[5%]"]
    assert "rolled back on production" in run.out


def test_one_error_less_passes(clone):
    """17 of 1,200."""
    run = clone.deploy_by_the_old_rule("inference-gateway:below", STAGES="5 100")

    assert run.exit == 0
    assert "canary 17/1200" in run.messages["error_rate[5%]"]


def test_the_limit_is_the_one_of_the_variable(clone):
    """What fails at 1.5 passes at 1.6."""
    run = clone.deploy_by_the_old_rule("inference-gateway:above", ERROR_RATE_REGRESSION="1.6", STAGES="5 100")

    assert run.exit == 0
    assert "canary 19/1200" in run.messages["error_rate[5%]"]


@pytest.mark.parametrize(
    ("tag", "limit", "exit_code"), [("slower", "1.2", 0), ("slow", "1.2", 1), ("slow", "1.4", 0), ("slower", "1.05", 1)]
)
def test_p99_is_compared_in_the_same_way(clone, tag, limit, exit_code):
    """1.1 and 1.3 times the latency."""
    run = clone.deploy_by_the_old_rule(f"inference-gateway:{tag}", P99_REGRESSION=limit, STAGES="5 100")

    assert run.exit == exit_code
    assert run.rows["latency_p99[5%]"] == ("failed" if exit_code else "passed")


def test_the_stages_are_those_of_the_variable(clone):
    """Any ladder that ends at 100."""
    assert clone.deploy_by_the_old_rule("inference-gateway:v2", STAGES="1 100").shifts == [0.0, 0.01, 1.0, 0.0]


def test_nothing_is_decided_before_the_stage_is_served(clone):
    """Half of all answers fail, and the old script slept through it; that is what the new rule is for."""
    run = clone.deploy_by_the_old_rule("inference-gateway:broken", STAGE_HOLD_S="300")
    found = re.search(r"canary (\d+)/(\d+)", run.messages["error_rate[5%]"])

    assert run.exit == 1
    assert run.rows["error_rate[5%]"] == "failed"
    assert int(found[2]) >= 300 * 100


def test_a_stage_waits_for_min_requests(clone):
    """100 requests per second at 5 %: 5,000 take 50 seconds, whatever the hold."""
    run = clone.deploy_by_the_old_rule("inference-gateway:broken", MIN_REQUESTS="5000")
    found = re.search(r"canary (\d+)/(\d+)", run.messages["error_rate[5%]"])

    assert run.exit == 1
    assert 5000 <= int(found[2]) < 5000 + 1300


def test_by_the_new_rule_the_same_command_stops_a_broken_build_at_once(clone):
    """Without `decide: threshold` the variables stay, and the evidence decides."""
    run = clone.deploy("inference-gateway:broken", "--canary-set", "baseline.window=5s", WARMUP_S="1")
    found = re.search(r"canary (\d+)/(\d+)", run.messages["error_rate[5%]"])

    assert run.exit == 1
    assert int(found[2]) < 1200
