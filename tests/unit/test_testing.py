"""`pytest_canary.testing`: what a team's own unit tests may rely on."""

import textwrap
from functools import partial

import pytest

from pytest_canary.errors import CanaryError
from pytest_canary.testing import at_stage, counts, lognormal, simulate, simulate_many, verdict_of

ROLLOUT = """
service: gateway
stages: [10, 50, 100]
hold: 1m
min_requests: 100
deadline: 10m
poll: 5s
gates:
  error_rate: {ratio: 1.5}
  latency_p99: {ratio: 1.2}
  tool_errors: {metric: {counter: tool_errors, total: tool_calls}, better: lower, ratio: 2}
simulate: {rate: 100, rates: {error_rate: 2%}}
targets:
  production:
    platform: {kubernetes: {namespace: inference, deployment: gateway}}
    router: {gateway-api: {route: gateway}}
    metrics: {prometheus: {url: "${A_VARIABLE_THAT_IS_NOT_SET}"}}
"""


def refuses(stage):
    """A team's own gate."""
    assert stage.canary.rate("refusals") <= 0.02


def asks_for_more(stage, tmp):
    """A fixture of somebody else's."""
    refuses(stage)
    assert tmp


@pytest.mark.parametrize("inject", ["", "error_rate x3", "latency_p99 x1.5 from 50%", "crash at 50%"])
def test_a_seed_ends_alone_as_it_does_among_many(inject):
    """Both are the rollout of `--canary-simulate`; many are played together because that is quick."""
    many = simulate_many(ROLLOUT, [inject] if inject else [], seeds=[3, 4, 5])
    alone = [simulate(ROLLOUT, [inject] if inject else [], seed=seed) for seed in (3, 4, 5)]

    assert [(one.end, one.stage, one.gate, one.exposed) for one in alone if one.stopped] == [
        (one.end, one.stage, one.gate, one.exposed) for one in many if one.stopped
    ]
    assert [one.promoted for one in alone] == [one.promoted for one in many]
    assert [one.seconds for one in alone] == pytest.approx([one.seconds for one in many])


def test_a_simulation_in_a_test_is_the_one_of_the_command_line(pytester):
    """Same file, same injection, same seed: same stage, gate and users."""
    home = pytester.mkdir("rollouts")
    (home / "rollout.yaml").write_text(ROLLOUT)
    ended = simulate(home, "error_rate x2.5", seed=9)
    session = pytester.runpytest_inprocess(
        *("-p", "no:cacheprovider", "-p", "no:embedded", "-p", "no:randomly", "-p", "no:replay"),
        *("--canary-simulate=9", "--canary-inject=error_rate x2.5", "rollouts"),
    )

    assert ended.stopped
    session.stdout.fnmatch_lines(
        [
            f"*rolled back in simulation (production) at {ended.stage}*failed {ended.gate};*",
            f"*exposed*{ended.exposed:,} *",
        ]
    )


def test_what_was_simulated_says_what_happened():
    """A failing assertion shows it."""
    bad, good = simulate(ROLLOUT, "error_rate x8", seed=2), simulate(ROLLOUT, seed=2)

    assert str(bad).startswith("seed 2: rolled back at 10% by error_rate, ")
    assert f"{bad.exposed} users exposed" in str(bad)
    assert bad.verdicts[0].gate == "error_rate"
    assert bad.verdicts[0].status == "fail"
    assert str(good).startswith("seed 2: promoted, ")
    assert good.gate == good.stage == ""


def test_a_function_among_the_tests_stops_the_build_it_speaks_against():
    """At the stage at which it fails, with whatever fixtures of ours it asks for."""
    seen = []

    def looks(stage, canary, baseline, rollout):
        seen.append(str(stage))
        assert canary.ask("What is the capital of France?").text
        assert baseline.rate("errors") < 0.1
        assert rollout.service == "gateway"

    bad = simulate(ROLLOUT, "refusal_rate x30 from 50%", tests=[looks, refuses])
    good = simulate(ROLLOUT, tests=[refuses])
    many = simulate_many(ROLLOUT, "refusal_rate x30 from 50%", seeds=2, tests=[refuses])

    assert (bad.stage, bad.gates) == ("50%", ("refuses",))
    assert seen == ["10%", "50%"]
    assert good.promoted
    assert [one.gate for one in many] == ["refuses", "refuses"]


def test_a_mark_beside_the_file_is_one_of_its_gates(tmp_path):
    """As in a rollout: gates are declared in both places."""
    (tmp_path / "rollout.yaml").write_text(ROLLOUT)
    mark = """
        import pytest
        @pytest.mark.gate("ttft_p99", ratio=1.3)
        def test_first_token(stage): ...
    """
    (tmp_path / "test_gates.py").write_text(textwrap.dedent(mark))

    assert simulate(tmp_path, "ttft x3").gate == "ttft_p99"


def test_a_gate_is_held_against_counts():
    """All that was stated is counted, to the last request."""
    said = verdict_of("error_rate", ratio=1.5, canary=counts(1000, errors=12), baseline=counts(9000, errors=90))

    assert said.status == "pass"
    assert (said.canary.requests, said.canary.events) == (1000, 12)
    assert (said.baseline.requests, said.baseline.events) == (9000, 90)


@pytest.mark.parametrize(
    ("limits", "slow", "status"),
    [
        ({"ratio": 1.2}, 1.25, "pass"),
        ({"ratio": 1.2}, 2.4, "fail"),
        ({"max": "800ms"}, 1.2, "fail"),
        ({"max": "3s"}, 1.2, "pass"),
    ],
)
def test_latencies_are_told_as_finely_as_a_gate_needs(limits, slow, status):
    """A limit in seconds is a boundary itself."""
    said = verdict_of(
        "latency_p99",
        canary=counts(3000, latency=lognormal(0.3, slow)),
        baseline=counts(9000, latency=lognormal(0.3, 1.2)),
        **limits,
    )

    assert said.status == status, said.sentence
    assert said.canary.requests == pytest.approx(3000, rel=0.2) or status == "fail"


def test_a_gate_of_ones_own_is_taken_from_its_file():
    """With its metric, its limits, and its part of the budget."""
    calls = {"tool_calls": 500}
    said = verdict_of(
        "tool_errors",
        rollout=ROLLOUT,
        canary=counts(1000, tool_errors=60, **calls),
        baseline=counts(9000, tool_errors=10, **calls),
    )

    assert said.status == "fail"
    assert said.canary.events <= 60


def test_a_stage_is_made_of_counts():
    """For plain asserts, and for the statistics in a body."""
    stage = at_stage(
        counts(1000, refusals=50, client_errors=2, latency=lognormal(0.3, 1.2)),
        counts(3000, client_errors=6),
        weight=0.5,
    )

    assert str(stage) == "50%"
    assert stage.canary.rate("refusals") == 0.05
    assert stage.canary.quantile(0.5) == pytest.approx(0.3, rel=0.05)
    assert stage.baseline.requests == 3000
    stage.wait(60)
    stage.check("client_error_rate", ratio=3)
    with pytest.raises(AssertionError):
        refuses(stage)
    with pytest.raises(CanaryError, match="nobody counts 'ttfts'"):
        stage.canary.count("ttfts")


def test_a_check_knows_the_metrics_of_the_file():
    """`stage.check` in a rollout does."""
    stage = at_stage(
        counts(1000, tool_calls=500, tool_errors=90), counts(1000, tool_calls=500, tool_errors=3), rollout=ROLLOUT
    )

    with pytest.raises(pytest.fail.Exception, match="tool_errors"):
        stage.check("tool_errors", ratio=2)


@pytest.mark.parametrize(
    ("mistake", "said"),
    [
        (lambda: simulate("rollouts/nowhere"), "found no rollouts/nowhere, expected a rollout.yaml, its folder, or"),
        (lambda: simulate(ROLLOUT, "eror_rate x3"), "no metric is called 'eror_rate', did you mean error_rate?"),
        (lambda: simulate(ROLLOUT, "quality -0.1"), "no gate can see it"),
        (lambda: simulate(ROLLOUT.replace("poll", "pol")), "rollout.yaml:7: found key 'pol', did you mean poll?"),
        (lambda: simulate(ROLLOUT, tests=[asks_for_more]), "asks for 'tmp', expected one of stage, canary"),
        (lambda: simulate_many(ROLLOUT, target="moon"), "found target 'moon', expected one of production"),
        (lambda: verdict_of("eror_rate", canary=counts(1)), "did you mean error_rate?"),
        (lambda: verdict_of("error_rate", rollout=ROLLOUT, ratio=2, canary=counts(1)), "limits and a rollout"),
        (lambda: verdict_of("ttft_p99", rollout=ROLLOUT, canary=counts(1)), "expected one of error_rate, latency_p99"),
        (lambda: counts(10, errors=11), "found 11 errors among 10 requests"),
        (lambda: counts(10, refusals=-1), "refusals: found -1, expected a number of at least 0"),
        (lambda: counts(10, latency=[0.1, -1]), "latency: expected values of at least 0"),
        (lambda: lognormal(2, 1), "expected 0 < median < p99"),
        (lambda: simulate(5), "found 5, expected a rollout.yaml, its folder, or its text"),
        (lambda: simulate(ROLLOUT, 3), "inject: found 3, expected a text such as 'error_rate x3', or a list of them"),
        (lambda: simulate(ROLLOUT, seed=-1), "seed: found -1, expected a whole number, 0 or more"),
        (lambda: simulate(ROLLOUT, seed="a"), "seed: found 'a', expected a whole number"),
        (lambda: simulate(ROLLOUT, tests=["x"]), "tests: found 'x', expected functions"),
        (lambda: simulate(ROLLOUT, overrides=[5]), "overrides: found 5, expected a text such as 'stages=5,100'"),
        (lambda: simulate_many(ROLLOUT, seeds=0), "seeds: found 0, expected one at least: whatever is asserted of"),
        (lambda: simulate_many(ROLLOUT, seeds=[]), "seeds: found [], expected one at least"),
        (lambda: simulate_many(ROLLOUT, seeds=[3, -3]), "seed: found -3, expected a whole number"),
        (lambda: simulate_many(ROLLOUT, seeds=1.5), "seeds: found 1.5, expected how many, such as 20"),
        (lambda: verdict_of("error_rate", ratio=2, canary={}), "found {}, expected counts, such as counts(1000"),
        (lambda: at_stage(None), "at_stage(): found None, expected counts"),
        (lambda: counts(10, errors="a"), "errors: found 'a', expected a number of at least 0"),
        (lambda: counts(10, latency=["a"]), "latency: expected values of at least 0"),
        (lambda: counts(10, latency="slow"), "latency: expected values of at least 0"),
    ],
)
def test_a_mistake_is_one_line(mistake, said):
    """What was found, and what was expected."""
    with pytest.raises(CanaryError) as caught:
        mistake()

    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def _few(share, stage):
    assert stage.canary.rate("refusals") <= share


def test_a_bound_function_is_one_of_the_tests():
    """As the refusal of other fixtures advises."""
    ended = simulate(ROLLOUT, "refusals x30", tests=[partial(_few, 0.02)])

    assert ended.gates == ("_few",), ended


def test_a_test_that_breaks_is_named_with_what_broke_it():
    """Whatever it raises speaks against the build; an error without words has its name."""

    def broken(stage):
        del stage
        raise KeyError

    ended = simulate(ROLLOUT, tests=[broken])

    assert ended.stopped
    assert ended.why.startswith("broken[10%] failed: KeyError"), ended


def test_one_override_need_not_be_a_list():
    """As an injection need not."""
    assert simulate(ROLLOUT, "crash", overrides="stages=7,100").stage == "7%"
