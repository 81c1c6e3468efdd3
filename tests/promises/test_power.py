"""`pytest-canary power`: the very rules, many rollouts at once; each is the one that pytest would simulate."""

import fcntl
import json
import os
import pty
import signal
import struct
import subprocess
import sys
import termios
import time
from contextlib import suppress
from pathlib import Path

import pytest

import pytest_canary.session.conductor  # noqa: F401 - runs in this process must not meet a second copy of it
from pytest_canary import calibrated
from pytest_canary.calibrated import Calibrated, Calibration, Share, digest_of
from pytest_canary.command import main
from pytest_canary.plan import make_plan, stages_digest
from pytest_canary.power.batch import play
from pytest_canary.power.cells import Cell, Setting
from pytest_canary.power.ended import How
from pytest_canary.power.prelude import prelude_of, shared_of
from pytest_canary.scenario import scenario_of
from pytest_canary.spec import load

GATEWAY = """
service: gateway
stages: [5, 25, 100]
hold: 30s
min_requests: 50
deadline: 5m
poll: 2s
warmup: 0s
baseline: {revision: stable, window: 1m, min_requests: 50}
gates:
  error_rate: {ratio: 1.5}
  latency_p99: {ratio: 1.2}
  output_tokens: {ratio: 1.3}
targets:
  made-up: {platform: {memory: {}}, router: {memory: {}}, metrics: {simulated: {}}}
simulate: {rate: 60}
"""
SEEDS = (3, 4, 5)
FEW = ("--rollouts", "40", "--each", "1", "--gate", "error_rate", "--sizes", "20", "--workers", "1")


@pytest.fixture
def gateway(project):
    """Write a rollout.yaml (changed by ``replace``) and return its folder."""

    def write(replace=None):
        home = project.pytester.path / "rollouts/gateway"
        home.mkdir(parents=True, exist_ok=True)
        text = GATEWAY
        for old, new in (replace or {}).items():
            assert old in text, old
            text = text.replace(old, new)
        (home / "rollout.yaml").write_text(text)
        return home

    return write


def _setting(home, *inject, rollouts=3):
    spec = load(home / "rollout.yaml", simulated=True)
    plan = make_plan(spec, rollout="rollout.yaml", image="gateway:simulated")
    scenario = scenario_of(spec, plan, inject)
    prelude = prelude_of(spec, plan, scenario, shared_of(spec, home / "state"))
    return Setting(plan, scenario.scene, prelude, SEEDS[0], rollouts, rollouts)


@pytest.mark.parametrize(
    ("inject", "replace"),
    [
        ((), {}),
        (("error_rate x4",), {}),
        (("latency_p99 x1.4", "output_tokens x1.4"), {"min_requests: 50\n": "min_requests: 150\n"}),
        (("error_rate x2",), {"hold: 30s": "pace: proof\nhold: 30s"}),
        (("error_rate x5",), {"rate: 60": "rate: 60, pods: 12", "stages: [5, 25, 100]": "stages: [25, 50, 100]"}),
        ((), {"rate: 60": "rate: 12, rates: {errors: 0.12}"}),
    ],
    ids=["good", "errors", "slow and talkative", "by proof", "replicas", "thin and frequent"],
)
def test_a_rollout_of_a_batch_is_the_one_that_pytest_simulates_with_its_seed(gateway, project, inject, replace):
    """Same seed, same end: gate, stage, and the users exposed until the very poll."""
    setting = _setting(gateway(replace), *inject)
    ended = play(setting.plan, setting.scene, SEEDS, setting.prelude)
    for row, seed in enumerate(SEEDS):
        report = project.pytester.path / f"report-{seed}.json"
        with suppress(FileNotFoundError):
            report.unlink()
        ran = project.run(
            f"--canary-simulate={seed}", *(f"--canary-inject={one}" for one in inject), f"--canary-report={report}",
            image=None,
        )  # fmt: skip
        told = json.loads(report.read_text())
        assert (told["end"] == "promoted") == (ended.how[row] == How.PROMOTED), ran.out
        if ended.how[row] == How.NOT_STARTED:
            continue
        assert told["exposed"] == ended.exposed[row], ran.out
        if ended.how[row] == How.GATE:
            stage, gate = setting.plan.stages[ended.stage[row]], setting.plan.gates[ended.gate[row]]
            assert f"{gate.name}[{stage}]" in told["why"]


def test_it_says_how_often_a_good_build_is_stopped_and_what_is_caught(gateway, capsys, tmp_path):
    """One command, a table, a picture and JSON; the exit status is that of what was required."""
    home = gateway()
    data, drawn = tmp_path / "power.json", tmp_path / "power.svg"
    given = ["power", str(home), "--rollouts", "20", "--each", "10", "--sizes", "2,20", "--workers", "1"]
    exit_code = main([*given, "--gate", "error_rate", "--json", str(data), "--picture", str(drawn),
                      "--require", "false_rollback<=20%", "--require", "caught(error_rate x20)>=90%"])  # fmt: skip
    out = capsys.readouterr().out
    assert exit_code == 0, out
    assert "a good build is rolled back in" in out
    assert "error_rate: x" in out
    lines = {(line["gate"], line["size"]): line for line in json.loads(data.read_text())["lines"]}
    assert lines["error_rate", 20.0]["stopped"] == 1.0
    assert lines["error_rate", 20.0]["exposed_median"] < lines["", 1.0]["exposed_median"]
    assert drawn.read_text().startswith("<svg")


def test_what_is_required_and_does_not_hold_is_the_exit_status(gateway, capsys):
    """So that CI guards the gates themselves."""
    home = gateway()
    given = ["power", str(home), "--rollouts", "10", "--each", "10", "--sizes", "20", "--workers", "1"]
    assert main([*given, "--gate", "error_rate", "--require", "exposed(error_rate x20)<=1"]) == 1
    assert "FAILED  exposed(error_rate x20)<=1" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("like", "words", "named"),
    [
        ("clumps: 12", [], True),
        ("bursts: {every: 5m, for: 20s, errors: 2}", ["--require", "false_rollback<0%"], True),
        ("pods: 1", ["--require", "false_rollback<0%"], False),
    ],
    ids=["more than promised", "more than required", "nothing comes together"],
)
def test_where_errors_that_come_together_stop_good_builds_it_names_what_measures_them(
    gateway, capsys, like, words, named
):
    """Whoever has described the trouble need not know which command keeps it from rolling back."""
    home = gateway({"rate: 60": f"rate: 60, {like}"})
    main(["power", str(home), *FEW, *words])
    out = capsys.readouterr().out

    found = [line for line in out.splitlines() if "pytest-canary calibrate" in line]
    assert len(found) == named, out
    assert all(line.endswith("rollout.yaml --target made-up") for line in found)


def test_gates_that_are_calibrated_already_are_not_sent_there_again(gateway, capsys):
    """It has been done, and has not been enough."""
    home = gateway({"rate: 60": "rate: 60, clumps: 12"})
    spec = load(home / "rollout.yaml", simulated=True)
    plan, share = make_plan(spec, rollout="rollout.yaml", image=None), Share(0, 20, 0.0, 0.1)
    gates = tuple(Calibrated(gate.name, digest_of(gate), 1.0, 15.0, share, share) for gate in plan.gates)
    told = Calibration(time.time(), "4 h", stages_digest(spec, plan.stages), share, share, gates)
    calibrated.write(home / "calibration.json", "made-up", told)
    main(["power", str(home), *FEW])
    out = capsys.readouterr().out

    assert "calibration: measured on 4 h; the levels of the file are enough" in out
    assert "pytest-canary calibrate" not in out


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--require", "false_rolback<=1%"], "did you mean false_rollback?"),
        (["--require", "caught(error_rat x2)>=90%"], "did you mean error_rate?"),
        (["--require", "good enough"], "expected 'false_rollback<=1%'"),
        (["--gate", "ttft_p99"], "expected one of error_rate"),
        (["--catch", "error_rate", "--rollouts", "2"], "such as 'error_rate x2'"),
        (["--json", "/nowhere/power.json"], "there is no folder /nowhere"),
        (["--json", "/"], "is a folder, expected a file such as /power.json"),
        (["--picture", "/nowhere/power.svg"], "there is no folder /nowhere"),
        (["--picture", "power.png"], "expected a file that ends in .svg or .html"),
        (["--picture", "-"], "expected a file that ends in .svg"),
    ],
)
def test_what_cannot_be_read_is_said_in_one_line(gateway, capsys, words, says):
    """What was found, and what to type."""
    assert main(["power", str(gateway()), *words]) == 4
    error = capsys.readouterr().err
    assert says in error
    assert len(error.strip().splitlines()) == 1


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--rollouts", "0"], "found '0', expected a whole number from 1 to 1,000,000"),
        (["--rollouts", "99999999999999999999"], "expected a whole number from 1 to 1,000,000"),
        (["--seed", "-1"], "argument --seed: found '-1', expected a whole number, 0 or more"),
        (["--sizes", "nan"], "found 'nan', expected numbers above 1"),
        (["--sizes", "2,inf"], "found '2,inf', expected numbers above 1"),
        (["--sizes", "1"], "found '1', expected numbers above 1"),
    ],
)
def test_a_number_that_cannot_be_played_is_refused(gateway, capsys, words, says):
    """Before anything is played, with what is possible."""
    with pytest.raises(SystemExit) as left:
        main(["power", str(gateway()), *words])
    assert left.value.code == 4
    assert says in capsys.readouterr().err.splitlines()[-1]


def test_a_plan_that_can_never_pass_says_what_it_needs(gateway, capsys):
    """At this traffic no stage has its requests before the deadline."""
    home = gateway({"rate: 60": "rate: 2", "deadline: 5m": "deadline: 1m"})
    assert main(["power", str(home), "--rollouts", "3", "--sizes", "20", "--gate", "error_rate", "--workers", "1"]) == 1
    out = capsys.readouterr().out
    assert "this plan can never pass at this traffic" in out
    assert "write `deadline:" in out
    assert out.count("not started, 3 of 3: stage 5% can never pass") == 1


def test_a_baseline_that_can_never_be_read_says_what_it_needs(gateway, capsys):
    """One request in a quarter of an hour tells nobody what is normal."""
    home = gateway({"rate: 60": "rate: 0.001"})
    assert main(["power", str(home), "--rollouts", "3", "--sizes", "20", "--gate", "error_rate", "--workers", "1"]) == 1
    out = capsys.readouterr().out
    assert "at 0.001 requests/s they take 50,000 s; lower `baseline.min_requests` or write a longer" in out


def test_what_is_not_in_the_numbers_is_said_before_them(gateway, capsys):
    """Gates that only alert, files that nobody can read, and a calibration that is too old."""
    home = gateway()
    (home / "test_broken.py").write_text("def test_gates(stage:\n")
    (home / "test_bytes.py").write_bytes(b"\xff\xfe")
    share = {"stopped": 0, "plays": 20, "low": 0.0, "high": 0.1}
    old = {"at": 1, "of": "x", "stages": "", "before": share, "after": share, "gates": []}
    (home / "calibration.json").write_text(json.dumps({"version": 1, "targets": {"made-up": old}}))
    words = ["--rollouts", "2", "--sizes", "20", "--gate", "error_rate", "--workers", "1"]
    assert main(["power", str(home), *words, "--set", "gates.output_tokens.action=alert"]) == 0
    out = capsys.readouterr().out
    before, _, _ = out.partition("a good build is")
    assert "not played: test_broken.py:1: is no Python" in before
    assert "not played: test_bytes.py: cannot be read, so its gates are not known" in before
    assert "only alert, and stop no build: output_tokens" in before
    assert "calibration: not used: " in before


def test_a_gate_in_python_that_nobody_knows_is_refused_as_pytest_would(gateway, capsys):
    """Its numbers would be missing from the table without a word."""
    home = gateway()
    (home / "test_gates.py").write_text('@pytest.mark.gate("erro_rate")\ndef test_few(stage): ...\n')
    assert main(["power", str(home)]) == 4
    assert "test_gates.py:1: found gate 'erro_rate'; did you mean error_rate?" in capsys.readouterr().err


@pytest.mark.parametrize("body", ["raise RuntimeError('boom')", "assert stage.canary.rate('errors') < 1"])
def test_where_only_tests_decide_there_is_nothing_to_play(gateway, capsys, body):
    """They are Python and run once per stage; what runs them is named."""
    home = gateway()
    text = (home / "rollout.yaml").read_text()
    (home / "rollout.yaml").write_text(text[: text.index("gates:")] + text[text.index("targets:") :])
    (home / "test_gates.py").write_text(f"def test_few(stage):\n    {body}\n")
    assert main(["power", str(home)]) == 4
    error = capsys.readouterr().err
    assert "the bodies of tests (test_gates.py" in error or "test_few" in error
    assert "--canary-simulate`, which runs them" in error
    assert len(error.strip().splitlines()) == 1


def _caught_in_time(home, within, *words):
    """Which share of other rollouts of the file as it stands is stopped so soon; and how many users meet it."""
    setting = _setting(home, *words)
    ended = play(setting.plan, setting.scene, range(1001, 1101), setting.prelude)
    return float((ended.stopped & (ended.seconds <= within)).mean()), float(ended.exposed.mean())


@pytest.mark.parametrize("within", ["30m", "5m"])
def test_advice_that_is_pasted_catches_it_with_fewer_users(gateway, capsys, within):
    """Other seeds than those by which it was found; the rest of the file stands as it is."""
    home = gateway()
    words = ["--catch", "error_rate x3", "--within", within, "--each", "100", "--workers", "1"]
    seconds = 60.0 * int(within[:-1])
    before, users = _caught_in_time(home, seconds, "error_rate x3")
    assert main(["power", str(home), *words]) == 0
    out = capsys.readouterr().out
    assert f"write in place of `stages` at {os.path.relpath(home)}/rollout.yaml:3:" in out
    assert "a good build then: promoted after" in out
    file = home / "rollout.yaml"
    stages = out[out.index("\nstages:") :].strip()
    assert "- {weight:" in stages
    assert stages.endswith("- 100")
    assert "stages: [5, 25, 100]" in file.read_text()
    file.write_text(file.read_text().replace("stages: [5, 25, 100]", stages))
    after, fewer = _caught_in_time(home, seconds, "error_rate x3")
    assert after >= 0.85, out  # 90 % in the long run
    assert after > before or fewer < users


def test_advice_is_pasted_where_the_stages_stand_and_keeps_what_they_say(gateway, capsys):
    """Those of a target stand deeper, and the larger ones keep their holds, deadlines and gates."""
    home = gateway()
    file = home / "rollout.yaml"
    top, _, simulate = file.read_text().partition("targets:")
    simulate = simulate[simulate.index("simulate:") :]
    text = f"""{top.replace("[5, 25, 100]", "[5, 100]")}targets:
  made-up:
    platform: {{memory: {{}}}}
    router: {{memory: {{}}}}
    metrics: {{simulated: {{}}}}
    stages: [5, {{weight: 25, hold: 1m, deadline: none, gates: {{error_rate: {{ratio: 2}}}}}}, 100]
{simulate}"""
    file.write_text(text)
    words = ["--catch", "error_rate x3", "--within", "5m", "--each", "30", "--workers", "1"]
    assert main(["power", str(home), *words]) == 0
    out = capsys.readouterr().out
    assert "\n    stages:\n      - {weight: " in out
    assert '      - {weight: 25, hold: 60s, deadline: none, gates: {"error_rate": {"ratio": "2"}}}' in out
    snippet = out[out.index("    stages:\n") :].rstrip()
    begin, _, _ = text.partition("    stages:")
    file.write_text(begin + snippet + "\n" + text[text.index("simulate:") :])
    plan = _setting(home).plan
    assert [str(stage) for stage in plan.stages][-2:] == ["25%", "100%"]
    assert plan.stages[-2].deadline_seconds is None


def test_advice_says_what_traffic_it_would_need(gateway, capsys):
    """No share of it is enough in a minute; the traffic that would be is simulated, too."""
    words = ["--each", "40", "--workers", "1", "--catch", "error_rate x2", "--within", "1m"]
    assert main(["power", str(gateway()), *words]) == 1
    out = capsys.readouterr().out
    assert "no share of 60 requests/s finds it in 1 min" in out
    assert "it would take about" in out
    assert "stopped in time in 9" in out.rpartition("it would take about")[2]


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (["--catch", "error_rate x1.4"], 1, "allows 1.5x: a build that is x1.4 passes"),
        (["--catch", "error_rate x1.6", "--within", "4m"], 1, "is near the limit of 1.5x"),
        (["--catch", "error_rate x20", "--within", "0s"], 4, "--within '0s': expected a time such as 30m"),
        (["--within", "30m"], 4, "expected `--catch` with a gate (error_rate, latency_p99, output_tokens)"),
        (["--catch", "error_rate x3", "--json", "-"], 4, "--json: is about the table"),
        (["--catch", "error_rate x3", "--require", "minutes<=1"], 4, "--require: is about the table"),
        (["--catch", "error_rate x3", "--set", "gates.error_rate.action=alert"], 4, "error_rate only alerts"),
    ],
)
def test_advice_that_cannot_be_given_says_why(gateway, capsys, words, code, says):
    """In one line, with what to write."""
    assert main(["power", str(gateway()), "--each", "10", "--workers", "1", *words]) == code
    told = capsys.readouterr()
    assert says in (told.out if code == 1 else told.err)


def _command(*words):
    return [sys.executable, "-m", "pytest_canary.command", "power", *map(str, words)]


def test_a_progress_bar_is_drawn_over_itself_in_one_line_of_a_terminal(gateway):
    """At 80 columns, from the first moment on, and nothing of it stays."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    words = [gateway(), "--rollouts", "30", "--each", "10", "--sizes", "3,20", "--workers", "1"]
    with subprocess.Popen(_command(*words), stdout=subprocess.PIPE, stderr=slave, text=True) as ran:
        os.close(slave)
        seen = b""
        with suppress(OSError):  # how a terminal says that everybody has gone
            while part := os.read(master, 4096):
                seen += part
        out, _ = ran.communicate(timeout=60)
    os.close(master)
    drawn = [part.removeprefix("\033[K") for part in seen.decode().split("\r")[1:]]
    assert ran.returncode == 0
    assert "0 of 90 rollouts, just begun" in drawn[0]
    assert any("30 of 90 rollouts, about" in text for text in drawn)
    assert any(text.startswith("###") for text in drawn)
    assert max(map(len, drawn)) < 80
    assert drawn[-1] == ""
    assert "\n" not in seen.decode()
    assert "\r" not in out


def test_nothing_is_drawn_where_nobody_watches(gateway):
    """A log of CI has no lines to draw over."""
    words = [gateway(), "--rollouts", "10", "--each", "5", "--sizes", "20", "--workers", "1"]
    ran = subprocess.run(_command(*words), capture_output=True, text=True, timeout=60, check=True)
    assert ran.stderr == ""
    assert "\r" not in ran.stdout


def _workers_of(pid):
    """Processes whose parent is ``pid``."""
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def _gone(pids, seconds=10.0):
    until = time.monotonic() + seconds
    while alive := [pid for pid in pids if Path(f"/proc/{pid}").exists()]:
        if time.monotonic() > until:
            return alive
        time.sleep(0.05)
    return []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_whatever_ends_it_ends_its_workers_at_once(gateway, number):
    """Ctrl-C is one line and exit status 2; a killed one leaves nobody who plays on for nobody."""
    words = [gateway(), "--rollouts", "200000", "--sizes", "3", "--workers", "2"]
    with subprocess.Popen(
        _command(*words), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as ran:
        until = time.monotonic() + 60
        while len(workers := _workers_of(ran.pid)) < 2:
            assert time.monotonic() < until
            time.sleep(0.05)
        time.sleep(1.0)
        if number == signal.SIGINT:  # as a terminal does: everybody in the foreground is told
            os.killpg(ran.pid, number)
        else:
            os.kill(ran.pid, number)
        began = time.monotonic()
        _, error = ran.communicate(timeout=60)
        assert time.monotonic() - began < 10
    assert _gone(workers) == []
    if number == signal.SIGINT:
        assert ran.returncode == 2
        assert error.strip() == "pytest-canary: interrupted; type `power` again, it is safe to repeat"


def test_the_same_cell_is_the_same_by_one_process_and_by_two(gateway):
    """What is shared between workers is time, not chance."""
    from pytest_canary.power.cells import played

    setting = _setting(gateway(), rollouts=8)
    cells = [Cell(), Cell("error_rate", 5.0)]
    alone, together = (played(setting, cells, lambda *_: None, workers) for workers in (1, 2))
    assert sorted(alone[cells[1]].exposed.tolist()) == sorted(together[cells[1]].exposed.tolist())
