"""Warm-up ends when the canary has stopped getting faster, and says how fast it is then."""

import re

import pytest

PROMPTS = "\n".join(
    [*(f'{{"prompt": "{word}", "stream": true}}' for word in ("a", "b", "c")), '{"prompt": "%s"}' % ("long " * 200)]
)
COLD = {"probe: {memory: {}}": "probe: {memory: {cold: {v2: {answers: 300, slowdown: 6}}}}"}


@pytest.fixture
def warmed(project):
    """The row of the warm-up of a run with these settings: requests, seconds, and all its words."""

    def warmed(warmup: str, **replace: str):
        project.write(replace={"warmup: 0s": f"warmup: {{{warmup}, prompts: p.jsonl}}", **replace})
        (project.pytester.path / "rollouts/gateway/p.jsonl").write_text(PROMPTS)
        run = project.run()
        assert run.exit == 0
        text = run.messages["warmup"]
        requests, seconds = re.search(r"(\d+) requests in ([\d.]+) s", text).groups()
        return int(requests), float(seconds), text

    return warmed


def test_a_build_that_is_slow_at_first_is_warmed_until_it_no_longer_is(warmed):
    """Its first 300 answers get faster and faster: users must not be the ones who wait for that."""
    requests, _, text = warmed("for: 10m", **COLD)

    assert 250 < requests < 900
    assert "ended by steady TTFT and throughput: TTFT 10 ms, 1000 tokens/s" in text


def test_a_build_that_is_fast_from_the_start_is_not_kept_waiting(warmed):
    """`for` is the most, not the least."""
    requests, seconds, text = warmed("for: 10m")

    assert 80 <= requests <= 200
    assert seconds < 5
    assert "ended by steady TTFT and throughput" in text


def test_a_build_that_is_not_steady_in_time_is_said_to_be_so(warmed):
    """`for` ends it, and whoever reads the row knows what the first users will meet."""
    _, seconds, text = warmed("for: 4s", **COLD)

    assert 4 <= seconds < 5
    assert re.search(r"ended by time, not steady yet: TTFT [2-6]\d ms, \d+ tokens/s", text)


def test_who_does_not_want_to_wait_for_steadiness_gets_the_time_asked_for(warmed):
    """`until_steady: false` is time and nothing else."""
    requests, seconds, text = warmed("for: 4s, until_steady: false")

    assert requests > 500
    assert 4 <= seconds < 5
    assert "ended by time: TTFT 10 ms" in text
