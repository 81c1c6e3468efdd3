"""rollout.yaml -> Spec, and the line of every mistake."""

import json
from pathlib import Path

import pytest

from pytest_canary.errors import SpecError
from pytest_canary.plan import declared_gates, stages_of
from pytest_canary.spec import is_ours, load
from pytest_canary.spec.reading import schema

GOOD = """\
service: gateway
stages: [5, 25, 50, 100]
hold: 5m
gates:
  error_rate: {ratio: 1.5}
default_target: local
targets:
  local:
    platform: {memory: {}}
    router: {memory: {}}
    metrics: {memory: {}}
  production:
    platform: {memory: {store: "${STORE}"}}
    router: {memory: {}}
    metrics: {memory: {}}
    stages: ${STAGES:-1 100}
    hold: ${HOLD:-300}
    gates:
      error_rate: {ratio: "${LIMIT:-2}"}
      latency_p99: {ratio: 1.2}
"""


@pytest.fixture
def read(tmp_path):
    """Read a text as rollout.yaml."""

    def read(text, *, target=None, overrides=(), **environ):
        path = tmp_path / "rollout.yaml"
        path.write_text(text)
        return load(path, target=target, overrides=overrides, environ=environ)

    return read


@pytest.fixture
def mistake(read):
    """What is said about a text."""

    def mistake(text, **more):
        with pytest.raises(SpecError) as caught:
            everything(text, **more)
        return str(caught.value)

    def everything(text, **more):
        spec = read(text, **more)
        stages_of(spec, "rollout.yaml")
        declared_gates(spec)

    return mistake


def weights(spec):
    """The ladder."""
    return [stage.weight for stage in stages_of(spec, "rollout.yaml")]


# -- targets and variables -------------------------------------------------------------------------------------------


def test_the_default_target_is_read(read):
    """The common case needs no option."""
    spec = read(GOOD)

    assert (spec.service, spec.target, spec.targets) == ("gateway", "local", ("local", "production"))
    assert weights(spec) == [0.05, 0.25, 0.5, 1.0]
    assert spec.document.hold == 300


def test_a_target_lays_its_keys_over_the_top(read):
    """Maps key by key, everything else whole."""
    spec = read(GOOD, target="production", STORE="x")
    gates = {gate.name: gate.limits.ratio for gate in declared_gates(spec)}

    assert weights(spec) == [0.01, 1.0]
    assert gates == {"error_rate": 2.0, "latency_p99": 1.2}
    assert spec.platform.options["store"] == "x"


@pytest.mark.parametrize("stages", ["10 100", "10,100", "[10, 100]", " 10  100 "])
def test_a_variable_is_typed_after_it_was_put_in(read, stages):
    """The variables of a shell script are texts."""
    assert weights(read(GOOD, target="production", STORE="x", STAGES=stages.strip("[]"))) == [0.1, 1.0]


def test_a_variable_that_is_set_to_nothing_has_its_default(read):
    """As in the shell, `:-` means unset or empty."""
    assert read(GOOD, target="production", STORE="x", HOLD="").document.hold == 300


def test_a_variable_without_default_must_be_set_when_its_target_is_chosen(mistake, read):
    """It is nobody's business in another target."""
    assert read(GOOD).target == "local"
    said = mistake(GOOD, target="production")
    assert said == (
        "rollout.yaml:13: the variable STORE is not set; type `export STORE=...`, or write ${STORE:-a default} there"
    )


def test_every_variable_that_is_not_set_is_named_at_once(mistake):
    """Nobody likes to be sent back for each of them."""
    said = mistake(GOOD.replace("hold: ${HOLD:-300}", "hold: ${HOLD}"), target="production").splitlines()

    assert [line.partition(";")[0] for line in said] == [
        "rollout.yaml:13: the variable STORE is not set",
        "rollout.yaml:17: the variable HOLD is not set",
    ]


def test_a_wrong_variable_is_named_with_its_line(mistake):
    """Whoever set it must find where it went."""
    said = mistake(GOOD, target="production", STORE="x", HOLD="soon")

    assert said == "rollout.yaml:17: hold: found 'soon', expected a duration such as 90s, 5m or 1h30m, or plain seconds"


def test_two_dollars_are_one(read):
    """A literal ${ must be writable."""
    assert read(GOOD + "runbook: $${X}\n").document.runbook == "${X}"


def test_an_unknown_target_is_answered_with_the_known(mistake):
    """A pipeline must not rehearse and believe that it shipped."""
    assert "--canary-target: found target 'prod', expected one of local, production" in mistake(GOOD, target="prod")


def test_several_targets_without_a_default_are_asked_for(mistake):
    """Guessing would be wrong half of the time."""
    said = mistake(GOOD.replace("default_target: local\n", ""))

    assert "--canary-target=local or --canary-target=production" in said


def test_the_only_target_is_the_target(read):
    """There is nothing to choose."""
    only = GOOD.replace("default_target: local\n", "")
    assert read(only[: only.index("  production")]).target == "local"


# -- overrides -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("override", "found"),
    [
        ("hold=10m", lambda spec: spec.document.hold == 600),
        ("stages=5,100", lambda spec: weights(spec) == [0.05, 1.0]),
        ("stages=[5, 100]", lambda spec: weights(spec) == [0.05, 1.0]),
        ("stages=llm", lambda spec: weights(spec)[0] == 0.01),
        ("gates.error_rate.ratio=3", lambda spec: declared_gates(spec)[0].limits.ratio == 3),
        ("gates.ttft_p99={ratio: 2}", lambda spec: len(declared_gates(spec)) == 2),
        ("targets.local.keep=true", lambda spec: spec.document.keep),
    ],
)
def test_anything_may_be_overridden_and_is_remembered(read, override, found):
    """Every override stands in the outcome."""
    spec = read(GOOD, overrides=[override])

    assert found(spec)
    assert spec.overrides == (override,)


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("hold", "--canary-set hold: found no `=`"),
        ("holt=5m", "did you mean hold?"),
        ("hold=never", "--canary-set hold=never: hold: found 'never'"),
        ("stages={a: 1}", "expected a list of stages"),
        ("gates.error_rate.ratoi=3", "did you mean ratio?"),
        ("hold=[", "the value is not YAML"),
    ],
)
def test_a_wrong_override_is_named_as_it_was_typed(mistake, override, said):
    """Its place is the command line."""
    assert said in mistake(GOOD, overrides=[override])


def test_an_override_wins_over_the_target(read):
    """Whoever types it means it here and now."""
    spec = read(GOOD, target="production", overrides=["hold=7s"], STORE="x")

    assert spec.document.hold == 7


# -- mistakes --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("old", "new", "line", "said"),
    [
        ("hold: 5m", "holt: 5m", 3, "found key 'holt', did you mean hold?"),
        ("hold: 5m", "hold: 5:30", 3, "expected a duration such as 5m30s"),
        ("hold: 5m", "hold: no", 3, "found 'no', expected a duration"),
        ("hold: 5m", "hold: [5m]", 3, "not a list or a map"),
        ("hold: 5m", "hold: 5m\nhold: 6m", 4, "'hold' stands here for the second time, first in rollout.yaml:3"),
        ("hold: 5m", "hold: 5m\nmin_requests: 1.5", 4, "expected a whole number"),
        ("hold: 5m", "hold: 5m\npace: fast", 4, "expected 'hold' or 'proof'"),
        ("hold: 5m", "hold: 5m\npoll: 0s", 4, "poll"),
        ("hold: 5m", "hold: 5m\nholdback: 200", 4, "a share between 0 and 100"),
        ("hold: 5m", "hold: 5m\nsame_model: maybe", 4, "true or false"),
        ("hold: 5m", "hold: 5m\nwarmup: {fro: 5s}", 4, "did you mean for?"),
        ("hold: 5m", "hold: 5m\nwarmup: {for: x}", 4, "warmup.for: found 'x'"),
        ("hold: 5m", "hold: 5m\ncanary: {replicas: 0}", 4, "canary.replicas"),
        ("hold: 5m", "hold: 5m\nbaseline: {window: x}", 4, "baseline.window"),
        ("service: gateway", "service: ../x", 1, "service: found '../x'"),
        ("stages: [5, 25, 50, 100]", "stages: [5, 25, 50]", 2, "the last stage is 50%, expected 100"),
        ("stages: [5, 25, 50, 100]", "stages: [25, 5, 100]", 2, "stage 5% does not grow, expected more than 25%"),
        ("stages: [5, 25, 50, 100]", "stages: [5, 5, 100]", 2, "does not grow"),
        ("stages: [5, 25, 50, 100]", "stages: [0, 100]", 2, "does not grow"),
        ("stages: [5, 25, 50, 100]", "stages: []", 2, "stages"),
        ("stages: [5, 25, 50, 100]", "stages: standart", 2, "one of standard, analysis, llm, progressive"),
        ("stages: [5, 25, 50, 100]", "stages:\n  - 5\n  - {weight: 100, holt: 3s}", 4, "did you mean hold?"),
        ("stages: [5, 25, 50, 100]", "stages:\n  - {weight: 100, hold: 2h}", 3, "expected at most its deadline"),
        ("error_rate: {ratio: 1.5}", "eror_rate: {ratio: 1.5}", 5, "did you mean error_rate?"),
        ("error_rate: {ratio: 1.5}", "error_rate: {ratoi: 1.5}", 5, "did you mean ratio?"),
        ("error_rate: {ratio: 1.5}", "error_rate: {}", 5, "has no limit, expected ratio, delta, max, min or shift"),
        ("error_rate: {ratio: 1.5}", "error_rate: {ratio: 0.9}", 5, "a ratio above 1"),
        ("error_rate: {ratio: 1.5}", "error_rate: {max: 5}", 5, "a rate between 0 and 1"),
        ("error_rate: {ratio: 1.5}", "latency_p99: {max: 800}", 5, "a latency with its unit"),
        ("error_rate: {ratio: 1.5}", "error_rate: {ratio: 1.5, action: page}", 5, "rollback or alert"),
        ("error_rate: {ratio: 1.5}", "error_rate: {ratio: 1.5, decide: guess}", 5, "or estimate or window"),
        ("error_rate: {ratio: 1.5}", "error_rate: {ratio: 1.5, better: higher}", 5, "lower is better"),
        ("error_rate: {ratio: 1.5}", "error_rate: 1.5", 5, "error_rate"),
        ("platform: {memory: {}}", "platform: {memory: {}, local: {}}", 9, "expected one platform"),
        ("    router: {memory: {}}\n", "", 1, "missing key 'router'"),
    ],
)
def test_a_mistake_is_one_line_with_its_place_and_what_was_expected(mistake, old, new, line, said):
    """What was found, where, what was expected."""
    assert old in GOOD
    text = mistake(GOOD.replace(old, new, 1))

    assert "\n" not in text
    assert text.startswith(f"rollout.yaml:{line}: ")
    assert said in text


def test_several_mistakes_are_a_line_each(mistake):
    """Nobody mends a file one run at a time."""
    text = mistake(GOOD.replace("hold: 5m", "hold: x\npoll: y\npace: z"))

    assert [line.partition(" ")[0] for line in text.splitlines()] == [f"rollout.yaml:{n}:" for n in (3, 4, 5)]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "the file is empty"),
        ("- a\n", "found a list or a text"),
        ("service: x\n  hold: 5m\n", "is not YAML"),
        ("service: x\n\thold: 5m\n", "is not YAML"),
        ("service: x\n---\nservice: y\n", "is not YAML"),
        ("service: x\n[a, b]: 1\n", "found a key that is no text"),
        ("? [a, b]\n: 1\nservice: x\n", "found a key that is no text"),
        ("service: x\n", "found no targets"),
        ("service: x\ntargets: {a: 5}\n", "target 'a' is no map"),
        ("a: &a [*a]\n", "aliases repeat too much"),
    ],
)
def test_what_is_no_rollout_is_said_in_one_line(mistake, text, said):
    """With the line, as far as there is one."""
    found = mistake(text)

    assert said in found
    assert found.startswith("rollout.yaml:")
    assert "\n" not in found


def test_aliases_that_multiply_are_refused_at_once(mistake):
    """Ten lines can ask for a billion."""
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 9)]

    assert "aliases repeat too much" in mistake("\n".join(lines))


def test_what_is_not_utf8_is_said(tmp_path):
    """Editors on other systems write other bytes."""
    (tmp_path / "rollout.yaml").write_bytes(b"service: caf\xe9\n")
    with pytest.raises(SpecError, match="is not UTF-8 text"):
        load(tmp_path / "rollout.yaml")


# -- forms -----------------------------------------------------------------------------------------------------------


def test_short_forms_mean_the_long_ones(read):
    """`baseline: stable`, `warmup: 90s`, `platform: memory`."""
    text = GOOD.replace("hold: 5m", "baseline: stable\nwarmup: 90s").replace(
        "platform: {memory: {}}", "platform: memory"
    )
    spec = read(text)

    assert spec.document.baseline.revision == "stable"
    assert spec.document.warmup.seconds == 90
    assert spec.platform.name == "memory"


@pytest.mark.parametrize(
    ("name", "ladder"),
    [
        ("standard", [5, 25, 50, 100]),
        ("analysis", [5, 25, 50, 100]),
        ("llm", [1, 10, 25, 50, 75, 100]),
        ("progressive", [2, 5, 10, 25, 50, 100]),
    ],
)
def test_a_ladder_has_a_name(read, name, ladder):
    """The names say what they are for."""
    spec = read(GOOD.replace("[5, 25, 50, 100]", name) + "deadline: none\n")

    assert weights(spec) == [weight / 100 for weight in ladder]


def test_the_progressive_ladder_brings_its_own_times_and_requests(read):
    """It takes most of a day."""
    stages = stages_of(read(GOOD.replace("[5, 25, 50, 100]", "progressive") + "deadline: none\n"), "rollout.yaml")

    assert [stage.hold_seconds for stage in stages] == [1800, 1800, 3600, 3600, 7200, 0]
    assert [stage.min_requests for stage in stages] == [200, 500, 2000, 5000, 10000, 0]


def test_a_stage_may_say_its_own(read):
    """What it does not say is taken from the top."""
    spec = read(
        GOOD.replace(
            "[5, 25, 50, 100]",
            "[{weight: 5, hold: 10m, min_requests: 2e3, deadline: 1h}, {weight: 100, deadline: none}]",
        )
    )
    first, last = stages_of(spec, "rollout.yaml")

    assert (first.hold_seconds, first.min_requests, first.deadline_seconds) == (600, 2000, 3600)
    assert (last.hold_seconds, last.min_requests, last.deadline_seconds) == (300, 500, None)


def test_a_stage_may_have_limits_of_its_own(read):
    """The gate stays the same, and its evidence too."""
    spec = read(GOOD.replace("[5, 25, 50, 100]", "[{weight: 5, gates: {error_rate: {ratio: 3}}}, 100]"))
    (gate,) = declared_gates(spec)

    assert gate.limits_at(0).ratio == 3
    assert gate.limits_at(1).ratio == 1.5


def test_limits_are_read_in_the_unit_of_their_metric(read):
    """A rate is a ratio, a latency is seconds."""
    spec = read(GOOD + "").document
    assert spec.gates["error_rate"].ratio == "1.5"
    text = GOOD.replace("error_rate: {ratio: 1.5}", "error_rate: {max: 2%, delta: 0.5%}\n  latency_p99: {max: 800ms}")
    errors, latency = declared_gates(read(text))

    assert (errors.limits.max, errors.limits.delta) == (0.02, 0.005)
    assert latency.limits.max == 0.8
    assert latency.where == "rollout.yaml:6"


def test_a_tag_that_looks_like_a_number_stays_a_tag(read):
    """1.10 is not 1.1, and 12e45 is a commit."""
    text = GOOD.replace(
        "platform: {memory: {}}", "platform: {memory: {a: 1.10, b: 12e45, c: 007, d: 10, e: 0.5, f: no}}"
    )

    assert read(text).platform.options == {"a": "1.10", "b": "12e45", "c": "007", "d": 10, "e": 0.5, "f": "no"}


# -- whose -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "ours"),
    [
        (GOOD, True),
        ("service: x\n", True),
        ("service: x\n  bad: [\n", True),
        ("apiVersion: argoproj.io/v1alpha1\nkind: Rollout\nservice: x\n", False),
        ("{{ if .Values.canary }}\nservice: x\n{{ end }}\nkind: Rollout\n", False),
        ("stages: [5]\n", False),
        ("- service\n", False),
        ("", False),
    ],
)
def test_a_rollout_names_a_service_and_is_nobodys_manifest(tmp_path, text, ours):
    """Another tool's rollout.yaml is not collected, and no error."""
    (tmp_path / "rollout.yaml").write_text(text)

    assert is_ours(tmp_path / "rollout.yaml") is ours


def test_editors_get_a_schema_that_is_up_to_date():
    """`# yaml-language-server: $schema=...` needs a file."""
    written = Path(__file__).parents[2] / "docs" / "rollout.schema.json"

    assert json.loads(written.read_text()) == schema()
