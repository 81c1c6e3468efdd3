"""Spec + image + collected gates -> Plan, or why not."""

import pytest

from pytest_canary.errors import PlanError, SpecError
from pytest_canary.gates import PRESETS, Bursts
from pytest_canary.identity import Stated
from pytest_canary.plan import belongs, make_plan
from pytest_canary.ports import Role
from pytest_canary.spec import load
from pytest_canary.verdict import share_alpha

TEXT = """\
service: gateway
stages: [5, 100]
gates:
  error_rate: {ratio: 1.5}
  latency_p99: {ratio: 1.2}
targets:
  here:
    platform: {memory: {}}
    router: {memory: {}}
    metrics: {memory: {}}
"""


@pytest.fixture
def plan(tmp_path):
    """Make a plan of TEXT with some of it replaced."""

    def plan(more="", *, without="", instead="", marked=(), tests=(), image="gateway:v2"):
        assert without in TEXT
        (tmp_path / "rollout.yaml").write_text(TEXT.replace(without, instead, 1) + more)
        spec = load(tmp_path / "rollout.yaml", environ={})
        return make_plan(spec, rollout="rollouts/rollout.yaml", image=image, marked=marked, required_tests=tests)

    return plan


@pytest.mark.parametrize(
    ("image", "fits"),
    [
        ("gateway:v2", True),
        ("registry.example:5000/team/gateway:v2", True),
        ("gateway@sha256:0123", True),
        ("gateway", True),
        ("other:v2", False),
        ("gateway-canary:v2", False),
    ],
)
def test_an_image_belongs_to_the_service_that_its_repository_ends_with(image, fits):
    """So one option is enough where several rollouts are collected."""
    assert belongs(image, "gateway") is fits


def test_a_plan_holds_everything_before_anything_starts(plan):
    """Nothing is read later."""
    made = plan("bake: 1m\nrunbook: docs/r.md\n", tests=["test_a.py::test_a[5%]"])

    assert [str(stage) for stage in made.stages] == ["5%", "100%"]
    assert [gate.name for gate in made.gates] == ["error_rate", "latency_p99"]
    assert (made.image, made.target, made.service) == ("gateway:v2", "here", "gateway")
    assert (made.bake_seconds, made.runbook) == (60, "docs/r.md")
    assert made.required_tests == ("test_a.py::test_a[5%]",)
    assert not made.warnings


def test_the_lines_say_what_will_happen(plan):
    """They are printed before anything happens."""
    said = "\n".join(plan().lines())

    assert "canary gateway on here: gateway:v2" in said
    assert "5% for 300 s, 100% for 300 s; each with at least 500 canary requests" in said
    assert "error_rate worse by at most 1.5x" in said


def test_a_build_of_another_name_draws_a_warning(plan):
    """It may be a build of something else, typed in the wrong folder."""
    [said] = plan(image="other:v2").warnings
    assert said == "other:v2 is not called gateway, as its builds are by their last part; is it one of them?"


def test_gating_only_one_kind_draws_a_warning(plan):
    """Errors and latency move independently."""
    assert "a slow build would pass" in plan(without="  latency_p99: {ratio: 1.2}\n").warnings[0]
    assert "fails fast would pass" in plan(without="  error_rate: {ratio: 1.5}\n").warnings[0]


def test_gates_that_only_alert_draw_a_warning(plan):
    """A build at which every second request fails is promoted by them."""
    gates = TEXT[TEXT.index("  error_rate") : TEXT.index("targets:")]
    alerts = gates.replace("}", ", action: alert}")
    said = "every gate only alerts: no build would be rolled back, however bad it is"

    assert said in plan(without=gates, instead=alerts).warnings
    assert said not in plan(without=gates, instead=alerts, tests=("t.py::test_stage",)).warnings
    assert said not in plan(without="1.5}", instead="1.5, action: alert}").warnings


def test_without_any_gate_nothing_would_decide(plan):
    """Such a rollout promotes everything."""
    gates = TEXT[TEXT.index("gates:") : TEXT.index("targets:")]
    with pytest.raises(PlanError, match="nothing would decide"):
        plan(without=gates)

    assert plan(without=gates, tests=["x"]).gates == ()


def test_a_mark_declares_a_gate_once_for_all_stages(plan):
    """It is known before anything is deployed."""
    mark = (("ttft_p99",), {"ratio": 1.3}, "test_a.py::test_a[5%]")
    again = (("ttft_p99",), {"ratio": 1.3}, "test_a.py::test_a[100%]")

    assert [gate.name for gate in plan(marked=[mark, again]).gates] == ["error_rate", "latency_p99", "ttft_p99"]


@pytest.mark.parametrize(
    ("mark", "said"),
    [
        (((), {"ratio": 2}, "test_a.py::t"), "test_a.py::t: @pytest.mark.gate takes one metric"),
        ((("tftt_p99",), {"ratio": 2}, "test_a.py::t[5%]"), "did you mean ttft_p99?"),
        ((("ttft_p99",), {"ratoi": 2}, "test_a.py::t[5%]"), "did you mean ratio?"),
        ((("ttft_p99",), {}, "test_a.py::t[5%]"), "has no limit"),
        ((("error_rate",), {"ratio": 2}, "test_a.py::t[5%]"), "with other limits; keep one of them"),
    ],
)
def test_a_wrong_mark_is_one_line_with_its_test(plan, mark, said):
    """Before anything is deployed."""
    with pytest.raises(PlanError) as caught:
        plan(marked=[mark])

    assert said in str(caught.value)
    assert str(caught.value).startswith("test_a.py::t")
    assert "\n" not in str(caught.value)


def test_only_proof_cannot_pass_where_nothing_is_left_to_compare_with(plan):
    """The mend is in the line."""
    with pytest.raises(PlanError, match=r"rollout.yaml:11: .*write `holdback: 2`, or `when_undecided: advance`"):
        plan("when_undecided: rollback\n")

    assert plan("when_undecided: rollback\nholdback: 2\n").holdback == 0.02


@pytest.mark.parametrize(("key", "line"), [("canary: {patch: {a: 1}}", 11)])
def test_what_is_not_built_is_refused_and_not_ignored(plan, key, line):
    """A key that does nothing is a lie."""
    with pytest.raises(SpecError, match=f"rollout.yaml:{line}: .*not supported yet"):
        plan(key + "\n")


def test_another_baseline_than_the_stable_build_is_refused(plan):
    """It would be compared with something that nobody asked for."""
    with pytest.raises(SpecError, match="found 'v0', expected stable"):
        plan("baseline: {revision: v0}\n")


def test_what_else_is_new_is_part_of_the_canary(plan):
    """Settings, arguments and the model are pinned with the image."""
    change = plan("canary: {env: {B: '2', A: no}, args: [--fast], model: m@1, replicas: 2}\n").change

    assert change.env == (("A", "no"), ("B", "2"))
    assert (change.args, change.model, change.replicas) == (("--fast",), "m@1", 2)


def test_stated_models_are_compared_too(plan):
    """Where the builds do not say which model they serve."""
    stated = plan("model: {baseline: v7, canary: {file: rollout.yaml}}\n").models.stated

    assert dict(stated) == {Role.BASELINE: Stated("v7"), Role.CANARY: Stated(file="rollout.yaml")}


def held(made):
    """How long and with how much the first stage is held: seconds, requests, and the deadline in seconds."""
    first = made.stages[0]
    return first.hold_seconds, first.min_requests, first.deadline_seconds


def test_a_model_file_that_is_not_there_is_said_with_its_line(plan):
    """Before anything is deployed."""
    with pytest.raises(SpecError, match=r"^rollout.yaml:11: model.canary.file: found no 'w.bin' beside the rollout"):
        plan("model: {canary: {file: w.bin}}\n")


@pytest.mark.parametrize(
    ("model", "said"),
    [
        ("{canary: 'llama@sha256:12'}", "expected 64 hex digits after @sha256:"),
        ("{canary: [a]}", "expected a version, a reference such as registry/models/llama@sha256:..., or {file: PATH}"),
        ("{from: [answer]}", "expected 'models', 'header', 'answers', 'labels' or 'fingerprint'"),
        ("{header: 'x model'}", "expected"),
        ("{canaries: v7}", "did you mean canary?"),
        ("{header: x-model, from: [models]}", "model.header is not asked; add `header` to `model.from`"),
        ("{from: [fingerprint]}", "model.from: a fingerprint is a part of answers; add `answers`"),
        ("{from: [header]}", "model.from: which header? write `header: x-model-version` beside"),
    ],
)
def test_a_mistake_in_what_is_said_of_models_is_one_line(plan, model, said):
    """With its place, what was found and what was expected."""
    with pytest.raises(SpecError) as refused:
        plan(f"model: {model}\n")

    assert str(refused.value).startswith("rollout.yaml:11: model")
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("text", ["none", "off", "~", "null", "{on: false}"])
def test_a_service_may_have_no_model(plan, text):
    """In any way that people write nothing."""
    assert not plan(f"model: {text}\n").models.served


def test_a_model_that_is_shipped_is_one(plan):
    """With `model: none` nobody would look whether both sides serve the same."""
    with pytest.raises(SpecError, match=r"rollout.yaml:12: canary.model ships the model 'v8', and `model` says that"):
        plan("model: none\ncanary: {model: v8}\n")


@pytest.mark.parametrize(
    "text",
    ["", "model: none\n", "same_model: false\n", "same_model: false\nmodel: none\ncost: {prices: {m: {input: 1}}}\n",
     "model: v7\n"],
)  # fmt: skip
def test_no_model_change_has_no_stricter_defaults(plan, text):
    """A web server with `same_model: false` ships no model."""
    made = plan(text)

    assert made.model_change == ()
    assert (made.stages[0].hold_seconds, made.stages[0].min_requests, made.stages[0].deadline_seconds) == (
        300,
        500,
        1800,
    )


@pytest.mark.parametrize("speaks", ["model: {}\n", "canary: {model: m@2}\n", "cost: {prices: {m: {input: 1}}}\n"])
def test_a_model_change_has_stricter_defaults_and_says_so(plan, speaks):
    """Twice as long, with twice the requests, and the advice on what is missing."""
    made = plan(f"same_model: false\n{speaks}")
    lines = [line for line in made.lines() if line.startswith("canary model change: ")]

    assert (made.stages[0].hold_seconds, made.stages[0].min_requests, made.stages[0].deadline_seconds) == (
        600,
        1000,
        3600,
    )
    assert "hold 10m, min_requests 1000, deadline 1h unless the file says otherwise" in lines[0]
    assert "no gate looks at what answers are worth, refusals and the length of answers" in lines[1]
    assert lines[-1].endswith("see docs/model-changes.md")
    assert all(len(line) < 150 for line in lines)


def test_gates_that_only_a_model_can_have_make_it_a_model_change(plan):
    """Nobody writes `refusal_rate` for a web server."""
    gates = "latency_p99: {ratio: 1.2}"
    made = plan("same_model: false\n", without=gates, instead="refusal_rate: {ratio: 2}")

    assert made.model_change
    assert "refusals" not in made.model_change[-1]


def test_a_model_change_keeps_what_the_file_says_and_advises_on_the_first_stage(plan):
    """Defaults are for what nobody has said; a deadline that is written is not broken by a longer hold."""
    told = "same_model: false\nmodel: {}\nhold: 1m\nmin_requests: 50\ndeadline: 5m\n"
    made = plan(told, without="[5, 100]", instead="[25, 100]")
    hasty = plan("same_model: false\nmodel: {}\ndeadline: 5m\n")

    assert held(made) == (60, 50, 300)
    assert "the first stage is 25% of all users, at most 5% is advised" in made.model_change[1]
    assert hasty.stages[0].hold_seconds == 300


@pytest.mark.parametrize(
    ("top", "gate", "said"),
    [
        (
            "noise: 15%\n",
            "{ratio: 1.1}",
            "1.1x lies inside the noise of 15%, .* the smallest that works is `ratio: 1.2`",
        ),
        ("", "{ratio: 1.5, noise: 0.5}", "the smallest that works is `ratio: 1.55`"),
        ("noise: 100%\n", "{ratio: 1.5}", "the smallest that works is `ratio: 2.05`"),
    ],
)
def test_a_gate_inside_the_stated_noise_is_refused_before_anything_is_deployed(plan, top, gate, said):
    """It would roll back good builds."""
    with pytest.raises(PlanError, match=rf"^rollout.yaml:[45]: \w+: a gate of .*{said}"):
        plan(top, without="{ratio: 1.2}", instead=gate)


def test_a_gate_outside_the_noise_or_without_any_is_planned(plan):
    """`off` leaves a gate out of the file's."""
    made = plan("noise: 15%\n", without="{ratio: 1.2}", instead="{ratio: 1.1, noise: off}")

    assert [gate.noise for gate in made.gates] == [0.15, 0.0]


def test_the_smoke_prompts_are_of_both_kinds_with_known_answers_first(plan, tmp_path):
    """Five are enough to see that it answers."""
    lines = [f'{{"prompt": "{n}"}}' for n in range(20)]
    lines += [f'{{"prompt": "s{n}", "stream": true}}' for n in range(4)] + ['{"prompt": "k", "expect": "v"}']
    (tmp_path / "p.jsonl").write_text("\n".join(lines))
    made = plan("warmup: {for: 5s, prompts: p.jsonl}\n")

    assert len(made.warmup.prompts) == 25
    assert len(made.smoke) == 5
    assert made.smoke[0].expect == "v"
    assert [prompt.stream for prompt in made.smoke].count(True) == 2


# evidence


def test_a_preset_sets_every_level_and_a_map_changes_some(plan):
    """Named levels have a measured price; single ones are for who knows why."""
    strict = plan("evidence: strict\n").gates[0].levels
    assert (strict, plan().gates[0].levels) == (PRESETS["strict"], PRESETS["default"])

    own = plan("evidence: {preset: fast, alpha: 0.5%, bursts: guard, replica_window: 2m}\n").gates[0].levels
    assert (own.alpha, own.bursts, own.replica_window_seconds, own.others) == (0.005, Bursts.GUARD, 120, 0.04)


def test_a_gate_may_ask_for_its_own_share_of_alpha(plan):
    """The others share what is theirs as before."""
    made = plan(without="{ratio: 1.5}", instead="{ratio: 1.5, alpha: 0.3%}")
    assert [gate.alpha for gate in share_alpha(made.gates)] == [0.003, 0.02]
    assert [gate.alpha for gate in share_alpha(plan().gates)] == [0.01, 0.02]


def test_pace_by_proof_asks_less_of_early_stages(plan):
    """3x, 2x and 1.5x of a gate of 1.5: the last stage that is compared proves the gate itself."""
    text = "pace: proof\n"
    assert {stage.allowance for stage in plan("pace: hold\n").stages} == {1.0}
    long = plan(text, without="stages: [5, 100]\n", instead="stages: [1, 5, 25, 50, 100]\n").stages
    assert [stage.allowance for stage in long] == [4.0, 4.0, 2.0, 1.0, 1.0]
    kept = plan(text + "holdback: 2\n", without="stages: [5, 100]\n", instead="stages: [5, 25, 100]\n").stages
    assert [stage.allowance for stage in kept] == [4.0, 2.0, 1.0]


def test_a_limit_from_a_scripts_variable_draws_a_line_with_the_way_back(tmp_path):
    """1.5 in a script compared two numbers; here it is the limit of an evidence gate."""
    (tmp_path / "rollout.yaml").write_text(TEXT.replace("{ratio: 1.5}", '{ratio: "${ERROR_RATE_REGRESSION:-1.5}"}'))

    def warnings(environ, **more):
        spec = load(tmp_path / "rollout.yaml", environ=environ, **more)
        return make_plan(spec, rollout="rollouts/rollout.yaml", image="gateway:v2").warnings

    said = warnings({"ERROR_RATE_REGRESSION": "2"})
    assert said[0].startswith("ERROR_RATE_REGRESSION (error_rate worse by at most 2x) is read as limits of evidence")
    assert "--canary-set decide=threshold compares two numbers" in said[0]
    assert warnings({}) == ()
    assert warnings({"ERROR_RATE_REGRESSION": "2"}, overrides=["decide=threshold"]) == ()


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ("{shift: psi > 0.1}", "is not counted in buckets, so has no shape"),
        ("{ratio: 1.5, by: [1, {}]}", "by"),
        ("{ratio: 1.5, alpha: 2}", "a rate between 0 and 1"),
        ("{ratio: 1.5, alpha: 0}", "a chance above 0 and below 1"),
        ("{ratio: 1.5, design_effect: 0.5}", "1 or more"),
    ],
)
def test_what_a_gate_cannot_be_told_is_one_line(plan, entry, said):
    """With its place, as everywhere."""
    with pytest.raises(SpecError, match=said) as refused:
        plan(without="{ratio: 1.5}", instead=entry)
    assert str(refused.value).startswith("rollout.yaml:4: ")


def test_a_shape_takes_its_limit_as_a_number_or_in_words(plan):
    """`0.1` and `psi > 0.1` are the same."""
    for written in ("0.1", "psi > 0.1"):
        made = plan("", without="{ratio: 1.2}", instead=f"{{shift: {written}}}")
        assert made.gates[1].limits.shift == 0.1


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("evidence: strickt\n", "preset"),
        ("evidence: {alpha: 3}\n", "a rate between 0 and 1"),
        ("evidence: {replicas: 0}\n", "replicas"),
        ("evidence: {burst: guard}\n", "did you mean burst"),
    ],
)
def test_levels_that_make_no_sense_are_one_line(plan, text, said):
    """A typo must not weaken a promise."""
    with pytest.raises(SpecError, match=said) as refused:
        plan(text)
    assert str(refused.value).startswith("rollout.yaml:")
    assert "\n" not in str(refused.value)


def test_a_control_is_said_and_its_time_can_be_set(plan):
    """`control: true`, or a map with how long pods are young."""
    assert not plan().control
    assert (plan("control: true\n").control, plan("control: true\n").young_seconds) == (True, 120)
    made = plan("control: {young: 3m}\n")
    assert (made.control, made.young_seconds) == (True, 180)
    assert any("a fresh copy of the stable build" in line for line in made.lines())
