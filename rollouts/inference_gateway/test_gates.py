"""Gates beside those in rollout.yaml: copy what you need.

The fixture a test asks for decides when it runs: none of ours, before anything is deployed; ``canary``, when it runs
with no traffic; ``warmup`` and ``baseline``, when it is warm and normal is known; ``stage``, once at every stage.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

HERE = Path(__file__).parent


def test_every_prompt_says_what_it_asks():
    """Preflight: a broken prompt file is found before anything is deployed."""
    for number, line in enumerate((HERE / "prompts.jsonl").read_text().splitlines(), start=1):
        assert json.loads(line), f"prompts.jsonl:{number} is empty"


def test_the_canary_knows_the_capital_of_france(canary):
    """Smoke: straight to the canary, which no user has met yet."""
    answer = canary.ask("What is the capital of France?")

    assert "Paris" in answer.text


def test_the_canary_streams_its_first_token_at_once(canary):
    """Smoke: a stream that begins late is felt by every user."""
    answer = canary.ask("What is the capital of France?", stream=True)

    assert answer.finished
    assert answer.ttft_seconds is not None
    assert answer.ttft_seconds < 2.0


def test_a_warm_canary_has_answered_something(warmup):
    """Warm-up: with `warmup: 0s` there is nothing to be warm from."""
    assert warmup.failed <= warmup.requests / 10


def test_few_answers_are_errors(stage):
    """A plain assert on what this stage has counted; a number that nobody counted fails, never passes."""
    assert stage.canary.rate("errors") <= 0.05


@pytest.mark.gate("ttft_p99", ratio=1.5)
def test_the_first_token_is_not_later(stage):
    """A gate declared in Python: polled while the stage holds, like those in rollout.yaml."""
    assert stage.canary.requests > 0


def test_clients_are_not_refused(stage):
    """The statistics from inside a body: a build that answers 401 to everyone is fast and free of 5xx."""
    stage.check("client_error_rate", ratio=3)


@pytest.mark.advisory
def test_the_median_answer_is_quick(stage):
    """An advisory test reports and never rolls back."""
    assert stage.canary.quantile(0.5) < 0.5
