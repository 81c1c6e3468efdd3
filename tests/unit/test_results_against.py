"""Which limit a gate has once a file says what is normal, and when it keeps the live stable build."""

from dataclasses import replace

import pytest

from pytest_canary.gates import Limits
from pytest_canary.results import Figure, Result, held, hold
from pytest_canary.spec import gate_from

FILE = Result(
    "bench.json", "vllm bench serve",
    {
        "ttft_p99": Figure(0.2, 1000), "latency_p99": Figure(2.0, 1000), "output_tokens": Figure(200.0, 1000),
        "error_rate": Figure(0.02, 1000), "latency_p50": Figure(1.0, 1000),
    },
    980, 20, "llama", "2026-10-02", "10/s", doubts=("it was a Sunday",),
)  # fmt: skip


def gate(name, **options):
    """A gate as it would be written."""
    return gate_from(name, options, "rollout.yaml:4")


def limits(name, **options):
    """What is left of its limits."""
    return held(gate(name, **options), FILE)[0].limits


@pytest.mark.parametrize(
    ("name", "options", "top", "words"),
    [
        ("ttft_p99", {"ratio": 1.5}, 0.3, "1.5x of 200 ms in bench.json"),
        ("ttft_p99", {"delta": "50ms"}, 0.25, "50 ms above 200 ms in bench.json"),
        ("ttft_p99", {"ratio": 1.5, "delta": "50ms"}, 0.25, "50 ms above 200 ms in bench.json"),
        ("ttft_p99", {"ratio": 1.5, "max": "1s"}, 0.3, "1.5x of 200 ms in bench.json"),
        ("output_tokens", {"ratio": 1.2}, 240, "1.2x of 200 tokens in bench.json"),
        ("error_rate", {"ratio": 1.5}, 0.03, "1.5x of 2.00% in bench.json"),
        ("error_rate", {"delta": "1%"}, 0.03, "1.00% above 2.00% in bench.json"),
    ],
)
def test_so_many_times_worse_is_at_most_so_much(name, options, top, words):
    """The strictest of several wins, as when both are judged."""
    found = limits(name, **options)

    assert found.max == pytest.approx(top)
    assert not found.relative
    assert found.origin
    assert found.origin.words == words
    assert found.origin.facts == "vllm bench serve, 2026-10-02, 980 requests, 10/s, model llama"
    assert str(found) == f"at most {top:g} ({words})"


def test_a_limit_that_somebody_wrote_and_that_is_stricter_stands():
    """And does not claim to be the file's."""
    assert limits("ttft_p99", ratio=1.5, max="250ms") == Limits(max=0.25)


def test_a_shift_needs_both_sides():
    """The file has no buckets; the rest of the gate uses it."""
    found, why = held(gate("output_tokens", ratio=1.2, shift="0.1"), FILE)

    assert (found.limits.max, found.limits.shift, found.limits.ratio) == (240, 0.1, None)
    assert why == "a shift needs the counts of both sides"
    assert held(gate("output_tokens", shift="0.1"), FILE)[0].limits == Limits(shift=0.1)


@pytest.mark.parametrize(
    ("name", "options", "why"),
    [
        ("refusal_rate", {"ratio": 2}, "it holds no such number"),
        ("ttft_p99", {"ratio": 2, "by": ["model", "route"]}, "it is compared by model,route, which the file does not"),
        ("error_rate", {"ratio": 60}, "with 2.00% in the file nothing could fail"),
        ("refusal_rate", {"max": "2%"}, ""),
    ],
)
def test_what_cannot_be_held_against_it_stays_as_it_is(name, options, why):
    """And the plan says why; a gate that was never relative needs no reason."""
    before = gate(name, **options)
    after, said = held(before, FILE)

    assert after is before
    assert said.startswith(why)
    assert bool(said) is bool(why)


def test_limits_that_differ_at_a_stage_are_held_too():
    """Each with its own factor of the same number."""
    early = replace(gate("ttft_p99", ratio=1.5), stages=((0, Limits(ratio=3)), (1, Limits(max=0.5))))
    found = held(early, FILE)[0]

    assert [found.limits_at(stage).max for stage in range(3)] == [pytest.approx(0.6), 0.5, pytest.approx(0.3)]
    assert found.kinds() == ("max",)


def test_other_quantiles_of_a_gate_are_named():
    """`gates: llm` judges p50, p95 and p99 together, live; against a file each needs a gate of its own."""
    told = hold([gate("latency_p99", ratio=1.5, quantiles=["p50", "p95", "p99"])], FILE)

    assert told.by_file == ("latency_p99",)
    assert told.doubts == (
        "it was a Sunday",
        "latency_p99: against a file only this quantile is judged; declare latency_p50 and latency_p95 for the others",
    )


def test_what_is_wrong_with_the_run_matters_only_to_who_uses_it():
    """A file that no gate uses has no doubts; the plan refuses it."""
    assert hold([gate("refusal_rate", ratio=2)], FILE).doubts == ()
