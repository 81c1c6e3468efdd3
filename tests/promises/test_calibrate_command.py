"""`pytest-canary record` and `pytest-canary calibrate`, as they are typed."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import pytest

from pytest_canary import calibrated
from pytest_canary.command import main
from pytest_canary.command.made import plan_of
from pytest_canary.command.place import choose
from pytest_canary.plan import make_plan
from pytest_canary.ports import Role
from pytest_canary.recording import Poll, Recorded, Recording, read
from pytest_canary.spec import load
from tests.unit.histories import history, samples

ROLLOUT = """
service: gateway
stages: [25, 50, 100]
hold: 60s
min_requests: 20
poll: 5s
baseline: {revision: stable, window: 60s, min_requests: 50}
gates:
  error_rate: {ratio: 1.5}
targets:
  memory:
    clock: {virtual: {}}
    platform: {memory: {store: world.json, lasting: true}}
    router: {memory: {}}
    metrics: {memory: {rate: 100, error_rate: {v1: 0.02}, replicas: {v1: 8, v2: 8}}}
    probe: {memory: {}}
"""


@dataclass
class Site:
    """A project with one rollout, and a shell in it."""

    root: Path
    capsys: pytest.CaptureFixture[str]

    @property
    def file(self) -> Path:
        """The rollout.yaml."""
        return self.root / "rollouts/gateway/rollout.yaml"

    def typed(self, *words: str) -> tuple[int, str]:
        """Exit code, and all that was said."""
        try:
            code = main([words[0], "rollouts/gateway", *words[1:]])
        except SystemExit as ended:
            code = int(ended.code)
        told = self.capsys.readouterr()
        return code, told.out + told.err

    def recorded(self, name: str = "hours.jsonl", **more) -> str:
        """A recording of the stable build."""
        words = SimpleNamespace(path=str(self.file), target=None, set=[], state=None, plugin=[])
        recording = Recording(self.root / name)
        recording.begin(plan_of(choose(words)), "record", 0.0, 1000.0)
        for sample in samples(history(**{"hours": 0.5, "replicas": 8, **more})):
            recording.write_sample(sample.at, -1, {Role.BASELINE: sample}, Poll.BASELINE)
        return name

    def measured(self) -> calibrated.Calibration:
        """What the file says."""
        found = calibrated.read(self.file.with_name("calibration.json"), "memory")
        assert found is not None
        return found


@pytest.fixture
def site(tmp_path, monkeypatch, capsys):
    """As somebody finds it who has just cloned the project."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pyproject.toml").write_text("[tool.pytest.ini_options]\n")
    site = Site(tmp_path, capsys)
    site.file.parent.mkdir(parents=True)
    site.file.write_text(ROLLOUT)
    return site


QUICK = ("--plays", "20")


def test_a_recording_is_played_and_the_file_that_runs_use_is_written(site):
    """One command, half an hour of history."""
    code, said = site.typed("calibrate", "--from", site.recorded(), *QUICK)
    made = make_plan(load(site.file), rollout="r", image=None)

    assert code == 0, said
    assert "gateway on memory: plays 20 pseudo-canaries on 30 min of 8 replicas (hours.jsonl)" in said
    assert "each play: 2, 4 of 8 replicas as the canary, stage by stage, 3 min or longer" in said
    assert "error_rate" in said
    assert said.splitlines()[-1] == "written to rollouts/gateway/calibration.json; runs use it for 30 days"
    assert made.calibration.startswith("measured on 30 min of 8 replicas (hours.jsonl)")
    assert site.measured().before.plays == 20


def test_a_service_with_bursts_is_raised_and_the_next_calibration_begins_afresh(site):
    """What was measured before must not be measured again, on top of it."""
    hours = site.recorded(bursts=100.0, each=20.0, base=0.01)
    one, two = (site.typed("calibrate", "--from", hours, *QUICK, "--allowed", "1%") for _ in range(2))

    assert one == two
    (gate,) = make_plan(load(site.file), rollout="r", image=None).gates
    found = site.measured().gates[0]
    assert (gate.design_effect, gate.levels.replicas) == (found.phi, found.replicas)


def test_what_the_history_lacks_is_said(site):
    """Few replicas, little time, no trouble: each in a line of its own, and in the file."""
    _, said = site.typed("calibrate", "--from", site.recorded(hours=0.2), *QUICK)
    doubts = [line for line in said.splitlines() if line.startswith("doubt: ")]

    assert any("short: 12 min hold 4 rollouts of 3 min one after the other" in line for line in doubts)
    assert any("few replicas: 8, expected at least 10" in line for line in doubts)
    assert any("error_rate: no burst in 12 min" in line for line in doubts)
    assert len(site.measured().doubts) == len(doubts)


def test_one_replica_is_refused_in_one_line(site):
    """Nothing is written."""
    code, said = site.typed("calibrate", "--from", site.recorded(replicas=1), *QUICK)

    assert code == 4
    assert "pytest-canary: found 1 replica of the stable build, expected at least 2: one plays the canary" in said
    assert not site.file.with_name("calibration.json").exists()


def test_a_dry_run_writes_nothing(site):
    """To look first."""
    code, said = site.typed("calibrate", "--from", site.recorded(), *QUICK, "--dry-run")

    assert code == 0
    assert "nothing was written" in said
    assert not site.file.with_name("calibration.json").exists()


def test_what_was_found_is_told_to_programs_too(site):
    """Rates with their intervals, levels, and what an injected regression costs."""
    code, said = site.typed("calibrate", "--from", site.recorded(), *QUICK, "--json", "--dry-run")
    told = json.loads(said[said.index("{") : said.rindex("}") + 1])

    assert code == 0
    assert told["after"]["plays"] == 20
    assert told["gates"][0]["gate"] == "error_rate"
    assert told["injected"]["error_rate"]["times"] == 3.0


def test_two_recordings_are_one_history(site):
    """Yesterday and today."""
    files = site.recorded("a.jsonl"), site.recorded("b.jsonl", seed=1)
    _, said = site.typed("calibrate", "--from", *files, *QUICK)

    assert "on 60 min of 8 replicas (a.jsonl, b.jsonl)" in said


def test_a_source_that_remembers_nothing_says_how_to_record(site):
    """With both commands to type."""
    code, said = site.typed("calibrate")

    assert code == 4
    assert "metrics 'memory' does not remember what was counted before; type `pytest-canary record" in said


def test_calibration_that_is_off_is_not_measured(site):
    """No run would use it."""
    site.file.write_text(ROLLOUT + "calibration: off\n")
    code, said = site.typed("calibrate", "--from", "x.jsonl")

    assert code == 4
    assert "rollout.yaml:17: `calibration` is off, so no run would use what is measured; take it out" in said


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("calibrate", "--from", "gone.jsonl"), "gone.jsonl: cannot be read"),
        (("calibrate", "--from", "x", "--allowed", "often"), "--allowed: found 'often', expected"),
        (("calibrate", "--from", "x", "--plays", "3"), "--plays: found 3, expected at least 20"),
        (("calibrate", "--hours", "-1"), "--hours: found -1, expected a number above 0"),
        (("calibrate", "--from", "x", "--seed", "-1"), "--seed: found -1, expected a whole number, 0 or more"),
        (("record", "--for", "long"), "--for: found 'long', expected a duration such as"),
    ],
)
def test_wrong_usage_is_one_line(site, words, said):
    """And exit code 4."""
    code, told = site.typed(*words)

    assert code == 4
    assert said in told
    assert len(told.strip().splitlines()) == 1


def test_what_only_a_canary_counted_is_no_history(site):
    """All that is played is one build."""
    words = SimpleNamespace(path=str(site.file), target=None, set=[], state=None, plugin=[])
    recording = Recording(site.root / "canary.jsonl")
    recording.begin(plan_of(choose(words)), "run", 0.0, 1000.0)
    for sample in samples(history(hours=0.1, replicas=8)):
        recording.write_sample(sample.at, 0, {Role.CANARY: sample}, Poll.LOOK)
    code, said = site.typed("calibrate", "--from", "canary.jsonl", *QUICK)

    assert code == 4
    assert "canary.jsonl: found fewer than two polls of the stable build; record it longer" in said


@pytest.mark.parametrize("there", ["{", "[" * 100_000, "folder", "nowhere/mine.json"])
def test_a_file_that_could_not_be_written_is_said_before_anything_is_played(site, there):
    """Minutes of playing would be lost; with `--dry-run` nothing has to be written."""
    hours, path = site.recorded(), site.file.with_name("calibration.json")
    if there == "folder":
        path.mkdir()
    elif there.startswith("nowhere"):
        site.file.write_text(ROLLOUT + f"calibration: {there}\n")
    else:
        path.write_text(there)
    code, said = site.typed("calibrate", "--from", hours, *QUICK)

    assert code == 4
    assert len(said.strip().splitlines()) == 1, said
    assert "and calibrate again" in said or "there is no folder" in said
    assert "written to" not in said
    assert site.typed("calibrate", "--from", hours, *QUICK, "--dry-run")[0] == 0


def shipped(site: Site) -> None:
    """A first run, which leaves a build that serves."""
    ship = [sys.executable, "-m", "pytest", "-q", "-p", "no:randomly", "-p", "no:repeat", "rollouts"]
    subprocess.run([*ship, "--image=gateway:v2"], check=True, cwd=site.root, capture_output=True, timeout=120)


def test_the_stable_build_is_recorded_without_a_rollout(site):
    """Every poll is in the file, replica by replica, and it can be calibrated on."""
    shipped(site)
    code, said = site.typed("record", "--for", "2m", "--to", "out.jsonl")
    found = [one for one in read(Path("out.jsonl"))[1] if isinstance(one, Recorded)]

    assert code == 0, said
    assert "records 8 replicas every 5 s into out.jsonl; Ctrl-C ends it" in said
    assert len(found) == 25
    assert all(one.poll is Poll.BASELINE and len(one.samples[Role.BASELINE].replicas) == 8 for one in found)
    assert site.typed("record", "--to", "out.jsonl")[0] == 4


def test_whoever_has_seen_enough_ends_it_with_ctrl_c(site):
    """What was counted until then is in the file, and the exit code is that of something done."""
    shipped(site)
    site.file.write_text(ROLLOUT.replace("virtual", "system"))
    words = [sys.executable, "-m", "pytest_canary.command", "record", "rollouts/gateway", "--every", "100ms"]
    with subprocess.Popen([*words, "--to", "out.jsonl"], cwd=site.root, stdout=subprocess.PIPE, text=True) as running:
        file, end = site.root / "out.jsonl", time.monotonic() + 60
        while time.monotonic() < end and (not file.exists() or file.read_text().count("\n") < 6):
            time.sleep(0.05)
        running.send_signal(signal.SIGINT)
        said, _ = running.communicate(timeout=60)

    assert running.returncode == 0, said
    assert "ended; what was counted until now is in the file" in said
    assert len([one for one in read(file)[1] if isinstance(one, Recorded)]) >= 3


def test_nothing_to_record_is_said(site):
    """Before a first run, nothing serves in a world that is made for runs."""
    code, said = site.typed("record", "--for", "1m")

    assert code == 1
    assert "does not run here" in said
