"""Presets, metrics of one's own and prices: what may be written, and the line that says what is wrong."""

import textwrap

import pytest

from pytest_canary.adapters.clock import VirtualClock
from pytest_canary.adapters.simulated import SimulatedMetrics
from pytest_canary.errors import PlanError, SourceUnavailable, SpecError
from pytest_canary.gates import Kind
from pytest_canary.plan import declared_gates, make_plan
from pytest_canary.ports import Histogram, Role, Sample, Shared
from pytest_canary.prices import Price, Priced, Prices, cost_of, priced
from pytest_canary.spec import gate_from, load, prices_of

HEAD = """\
service: gateway
stages: [5, 100]
targets:
  memory: {platform: {memory: {}}, router: {memory: {}}, metrics: {memory: {}}, probe: {memory: {}}}
"""


def spec_of(folder, text, *overrides):
    """A rollout.yaml whose line 5 is the first of ``text``."""
    (folder / "rollout.yaml").write_text(HEAD + textwrap.dedent(text))
    return load(folder / "rollout.yaml", overrides=overrides, environ={})


def gates_of(folder, text, *overrides):
    """Gate -> its limits, in words."""
    return {gate.name: str(gate.limits) for gate in declared_gates(spec_of(folder, text, *overrides))}


def wrong(folder, text):
    """What is said of ``text``."""
    with pytest.raises((SpecError, PlanError)) as refused:
        make_plan(spec_of(folder, text), rollout="r", image=None)
    return str(refused.value)


# presets

LLM = {
    "latency_p99": "worse by at most 1.5x",
    "cost_per_request": "worse by at most 1.2x",
    "error_or_refusal_rate": "worse by at most 2x",
    "output_tokens": "shifted by at most PSI 0.1",
    "feedback_negative_rate": "worse by at most 1.5x",
}


def test_a_preset_is_its_name(tmp_path):
    """One line, five gates, each known to come from it."""
    assert gates_of(tmp_path, "gates: llm\n") == LLM
    assert {gate.preset for gate in declared_gates(spec_of(tmp_path, "gates: llm\n"))} == {"llm"}


def test_what_stands_beside_a_preset_changes_it(tmp_path):
    """A limit takes the place of its limits; other keys are added; off is off; what is new is added."""
    text = """\
    gates:
      preset: llm
      cost_per_request: {delta: 0.01}
      output_tokens: {action: alert}
      feedback_negative_rate: off
      error_rate: {ratio: 3}
    """
    gates = {gate.name: gate for gate in declared_gates(spec_of(tmp_path, text))}

    assert list(gates) == ["latency_p99", "cost_per_request", "error_or_refusal_rate", "output_tokens", "error_rate"]
    assert str(gates["cost_per_request"].limits) == "worse by at most + 0.01"
    assert (str(gates["output_tokens"].limits), gates["output_tokens"].action) == (LLM["output_tokens"], "alert")
    assert (gates["error_rate"].preset, gates["cost_per_request"].where) == ("", "rollout.yaml:7")


def test_an_override_changes_one_gate_of_a_preset(tmp_path):
    """Not the whole of it, though the file has only its name."""
    for override in ("gates.cost_per_request.ratio=2", "gates.preset=llm"):
        assert set(gates_of(tmp_path, "gates: llm\n", override)) == set(LLM)
    assert gates_of(tmp_path, "gates: llm\n", "gates.cost_per_request.ratio=2")["cost_per_request"].endswith("2x")
    assert "output_tokens" not in gates_of(tmp_path, "gates: llm\n", "gates.output_tokens=off")


def test_a_target_may_name_a_preset_or_change_one(tmp_path):
    """It lies over the top like everything else."""
    (tmp_path / "rollout.yaml").write_text(HEAD.replace("probe:", "gates: {latency_p99: off}, probe:") + "gates: llm\n")
    spec = load(tmp_path / "rollout.yaml", environ={})
    assert set(LLM) - {gate.name for gate in declared_gates(spec)} == {"latency_p99"}


def test_a_gate_of_the_file_may_be_off_in_a_target(tmp_path):
    """Where its source does not count it."""
    text = "gates: {error_rate: {ratio: 2}, ttft_p99: {ratio: 2}}\n"
    (tmp_path / "rollout.yaml").write_text(HEAD.replace("probe:", "gates: {ttft_p99: off}, probe:") + text)
    assert [gate.name for gate in declared_gates(load(tmp_path / "rollout.yaml", environ={}))] == ["error_rate"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "gates: lmm\n",
            "rollout.yaml:5: found gates 'lmm', expected a map or one of llm, model-quality, probes; did you mean",
        ),
        ("gates: {preset: [llm]}\n", "rollout.yaml:5: found gates 'a list or a map', expected a map or one of"),
        ("gates:\n  preset: llm\n  feedback: off\n", "rollout.yaml:7: gates.feedback: off, but there is no such gate"),
        (
            "gates:\n  preset: llm\n  cost_per_request: 2\n",
            "rollout.yaml:7: gates.cost_per_request: found '2', expected a map, such as {ratio: 1.5}",
        ),
    ],
)
def test_a_preset_that_is_misspelt_is_one_line(tmp_path, text, said):
    """With the place."""
    assert said in wrong(tmp_path, text)


# metrics of one's own


@pytest.mark.parametrize(
    ("metric", "more", "kind", "counted"),
    [
        ({"counter": "bad", "total": "all"}, {"ratio": 2}, Kind.RATE, ("bad", "all")),
        ({"counter": "bad"}, {"max": "1%"}, Kind.RATE, ("bad", "requests")),
        ({"histogram": "t", "quantile": "0.95", "unit": "seconds"}, {"max": "1s"}, Kind.QUANTILE, ()),
        ({"histogram": "t"}, {"ratio": 2}, Kind.MEAN, ()),
        ({"mean": ["sum", "count"], "unit": "bytes"}, {"delta": 9}, Kind.MEAN, ("sum", "count")),
        ({"gauge": "g", "unit": "ratio"}, {"max": "80%"}, Kind.GAUGE, ()),
    ],
)
def test_a_metric_of_ones_own_names_what_the_source_counts(metric, more, kind, counted):
    """In five forms."""
    made = gate_from("mine", {"metric": metric, "better": "lower", **more}, "here").metric
    assert (made.kind, made.counted, made.better) == (kind, counted, "lower")


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ("{metric: {counter: a}, ratio: 2}", "mine.better: expected lower or higher"),
        (
            "{metric: {counters: a}, better: lower, ratio: 2}",
            "mine.metric: found {'counters': 'a'}, expected one of {c",
        ),
        ("{metric: {gauge: a}, better: lower, max: 3}", "mine.metric: a limit in numbers needs the `unit`"),
        ("{metric: {mean: [a]}, better: lower, ratio: 2}", "mine.metric.mean: found ['a'], expected two counters"),
        (
            "{metric: {histogram: a, quantile: 95}, better: lower, ratio: 2}",
            "mine.metric.quantile: found '95', expected",
        ),
        ("{metric: {histogram: a, quantile: 0.5}, better: higher, ratio: 2}", "gate the mean instead"),
        ("{metric: {counter: a, total: b}, better: lower, shift: 0.1}", "mine is not counted in buckets"),
        ("{metric: {counter: a, total: a}, better: lower, ratio: 2}", "'a' are always all of themselves; name two"),
        ("{metric: {counter: requests}, better: lower, ratio: 2}", "'requests' are always all of themselves"),
        ("{metric: {mean: [a, a]}, better: lower, ratio: 2}", "mine.metric.mean: found 'a' twice, which is always 1"),
        ("{metric: {histogram: a, unit: [x]}, better: lower, max: 2}", "mine.metric.unit: found ['x'], expected sec"),
    ],
)
def test_what_is_wrong_with_a_metric_of_ones_own_is_one_line(tmp_path, entry, said):
    """With the place, and what may be written."""
    text = wrong(tmp_path, f"gates:\n  mine: {entry}\n")
    assert text.startswith("rollout.yaml:6: ")
    assert said in text
    assert "\n" not in text


def test_a_built_in_name_keeps_its_meaning(tmp_path):
    """`error_rate` of something else would be read wrongly by everybody."""
    text = wrong(tmp_path, "gates:\n  error_rate: {metric: {counter: a}, better: lower, ratio: 2}\n")
    assert "'error_rate' cannot be a metric of your own; give it another name" in text


def test_a_stage_may_change_the_limit_of_ones_own(tmp_path):
    """Its metric stands at the top."""
    text = HEAD.replace("[5, 100]", "[{weight: 5, gates: {mine: {ratio: 4}}}, 100]")
    text += "gates:\n  mine: {metric: {counter: a}, better: lower, ratio: 2}\n"
    (tmp_path / "rollout.yaml").write_text(text)
    (gate,) = declared_gates(load(tmp_path / "rollout.yaml", environ={}))
    assert (gate.limits_at(0).ratio, gate.limits_at(1).ratio) == (4.0, 2.0)


def test_a_deadline_leaves_time_for_what_comes_late(tmp_path):
    """Hold and lag."""
    text = "gates:\n  feedback_negative_rate: {ratio: 2, lag: 40m}\n"
    assert "stage 5% takes 2700 s, hold and lag; its deadline is 1800 s; write a longer `deadline`" in wrong(
        tmp_path, text
    )


# prices

COST = "gates: {cost_per_request: {ratio: 1.2}}\ncost: {prices: {a: {input: 1, cached_input: 0.1, output: 4}}}\n"


def test_prices_stand_in_the_file_or_beside_it(tmp_path):
    """By the million, in any currency."""
    (tmp_path / "prices.yaml").write_text("a: {input: 1, cached_input: 0.1, output: 4}\n")
    inline, beside = (
        prices_of(spec_of(tmp_path, text))
        for text in (COST, "cost: {prices: prices.yaml}\ngates: {error_rate: {ratio: 2}}\n")
    )
    assert inline is not None
    assert beside is not None
    assert inline.models == beside.models == {"a": Price(1.0, 0.1, 4.0)}
    assert set(inline.serves.values()) == {"a"}


@pytest.mark.parametrize(
    ("cost", "said"),
    [
        ("{prices: {a: {output: 4}}, model: b}", "no price for the model 'b' in `cost.prices`; there are prices for a"),
        ("{prices: {a: {output: 4}}, model: {canary: b}}", "no price for the model 'b'"),
        ("{prices: {a: {outputs: 4}}}", "rollout.yaml:6: a: found price 'outputs', expected input, cached_input"),
        ("{prices: {a: {output: much}}}", "expected a number"),
        ("{prices: {a: {input: 0, output: 0}}}", "rollout.yaml:6: cost.prices: every price is 0, so nothing could"),
        ("{prices: {a: {cached_input: 1}}}", "rollout.yaml:6: a: cached_input is a part of the input; add `input`"),
        ("{prices: nowhere.yaml}", "nowhere.yaml: cannot be read"),
        (
            "{prices: bad.yaml}",
            "bad.yaml:2: a: found price 'outputs', expected input, cached_input, output, gpu_second",
        ),
        ("{prices: text.yaml}", "text.yaml:1: found a list or a text"),
        ("{price: {}}", "cost: found key 'price', did you mean prices?"),
    ],
)
def test_what_is_wrong_with_prices_is_one_line(tmp_path, cost, said):
    """Before anything is deployed."""
    (tmp_path / "bad.yaml").write_text("a:\n  outputs: 4\n")
    (tmp_path / "text.yaml").write_text("cheap\n")
    assert said in wrong(tmp_path, f"gates: {{error_rate: {{ratio: 2}}}}\ncost: {cost}\n")


def test_two_models_have_two_prices(tmp_path):
    """One price for both would let a model pass that costs three times as much."""
    text = "gates: {cost_per_request: {ratio: 2}}\nmodel: {baseline: small, canary: large}\nsame_model: false\n"
    said = wrong(tmp_path, f"{text}cost: {{prices: {{small: {{output: 1}}}}}}\n")
    same = prices_of(spec_of(tmp_path, f"{text}cost: {{prices: {{small: {{output: 1}}}}, model: small}}\n"))

    assert "there is a price for small alone, and `model` says that the sides serve two models; add the other's" in said
    assert same is not None
    assert set(same.serves.values()) == {"small"}


def test_limits_that_nothing_keeps_are_refused(tmp_path):
    """Else every build would be rolled back, however good it is."""
    text = wrong(tmp_path, "gates: {quality: {min: 0.85, max: 0.8}}\n")
    assert text == "rollout.yaml:5: quality: `min` is above `max`, so nothing could pass"


def test_stated_models_have_their_own_prices(tmp_path):
    """A rollout of a model: `model` says what each side serves."""
    text = """\
    gates: {cost_per_request: {ratio: 2}}
    model: {baseline: small, canary: large}
    cost: {prices: {small: {output: 1}, large: {output: 3}}}
    """
    prices = prices_of(spec_of(tmp_path, text))
    assert prices is not None
    assert (prices.serves[Role.BASELINE], prices.serves[Role.CANARY]) == ("small", "large")


TOKENS = {"requests": 10.0, "input_tokens": 5e6, "cached_input_tokens": 1e6, "output_tokens": 1e6, "gpu_seconds": 50.0}


def test_a_bill_adds_up():
    """Cached input is cheaper, output dearer, and a GPU is paid by the second."""
    sample = Sample(0.0, TOKENS)
    assert cost_of(sample, Price(1.0, 0.1, 4.0)) == pytest.approx(4 + 0.1 + 4)
    assert cost_of(sample, Price(1.0, None, 4.0)) == pytest.approx(5 + 4)
    assert cost_of(sample, Price(gpu_second=0.01)) == pytest.approx(0.5)
    assert cost_of(Sample(0.0, {"requests": 1.0}), Price(1.0)) is None


def test_tokens_may_be_counted_in_a_histogram_alone():
    """Its sum is as good."""
    histogram = Histogram((100.0,), (0.0, 10.0), 1e6)
    assert cost_of(Sample(0.0, {}, {"output_tokens": histogram}), Price(output=4.0)) == pytest.approx(4.0)


def test_a_source_that_counts_cost_is_believed():
    """It knows discounts and batches."""
    sample = Sample(0.0, {**TOKENS, "cost": 7.0})
    assert priced(sample, Role.CANARY, Prices({"a": Price(1.0)}, {Role.CANARY: "a"}, "here")) is sample


def test_each_model_has_its_price_where_the_source_counts_by_model():
    """And replicas cost what they use."""
    prices = Prices({"a": Price(output=1.0), "b": Price(output=10.0)}, {}, "rollout.yaml:7")
    half = Sample(0.0, {"output_tokens": 1e6})
    sample = Sample(0.0, TOKENS, strata={"model": {"a": half, "b": half}})
    assert priced(sample, Role.CANARY, prices).counters["cost"] == pytest.approx(11.0)
    with pytest.raises(
        SourceUnavailable, match=r"rollout\.yaml:7: no price for the model 'c', add it to `cost.prices`"
    ):
        priced(Sample(0.0, TOKENS, strata={"model": {"c": half}}), Role.CANARY, prices)
    with pytest.raises(SourceUnavailable, match="nobody says which of them the canary serves"):
        priced(Sample(0.0, TOKENS), Role.CANARY, prices)
    one = Prices({"a": Price(output=1.0)}, {Role.CANARY: "a"}, "here")
    replicas = priced(Sample(0.0, TOKENS, replicas={"x": half}), Role.CANARY, one).replicas
    assert replicas["x"].counters["cost"] == pytest.approx(1.0)


def test_who_asks_where_the_cost_comes_from_is_told_the_line_of_the_prices(tmp_path):
    """`pytest-canary check` looks for it like for any other number."""
    options = SimulatedMetrics.Options(counts={"output_tokens": 200.0})
    shared = Shared("gateway", VirtualClock(), tmp_path, tmp_path)
    source = Priced(SimulatedMetrics(options, shared), Prices({"a": Price(1.0)}, {}, "rollout.yaml:7"))
    told = source.explain(Role.BASELINE)
    assert told["counters.cost"].by == "rollout.yaml:7: cost.prices"
    assert "counters.output_tokens" in told
