"""What probes cost, and what they catch: counting 10,000 answers, reading streams, and how many probes a defect takes.

python benchmarks/probes.py [--rollouts 200] [--only cost]
"""

from __future__ import annotations

import argparse
import json
import time
import tracemalloc
from collections.abc import Iterator
from dataclasses import dataclass, replace
from statistics import median

import numpy as np

from pytest_canary.adapters.http.events import EventReader
from pytest_canary.adapters.http.reading import Reading
from pytest_canary.gates import Gate, Limits, metric
from pytest_canary.ports import Answer, Fault, Prompt, Role, Sample
from pytest_canary.probing.tally import Tally
from pytest_canary.verdict import Judge, share_alpha

RESULTS, TOKENS = 10_000, 100
RATE, POLL, WINDOW, HOLD, STAGES = 2.0, 5.0, 60.0, 300.0, 4
"""Probes per second and build; seconds between two polls, before the ramp, and of each stage."""
GATES = {
    "probe_error_rate": 1.5,
    "probe_refusal_rate": 2.0,
    "probe_ttft_p99": 1.5,
    "probe_inter_token_latency": 1.5,
    "probe_output_tokens": 1.3,
}


@dataclass(frozen=True)
class Build:
    """How the answers of a build differ from a good one's."""

    what: str
    truncated: float = 0.005
    refused: float = 0.02
    slower: float = 1.0
    stutters: float = 1.0
    longer: float = 1.0


BUILDS = (
    Build("the same build (A/A)"),
    Build("two streams in five are cut", truncated=0.4),
    Build("one stream in ten is cut", truncated=0.1),
    Build("refuses one prompt in ten", refused=0.1),
    Build("first token 2x as late", slower=2.0),
    Build("first token 1.5x as late", slower=1.5),
    Build("tokens 2x as slow", stutters=2.0),
    Build("says twice as much", longer=2.0),
)


def answers(build: Build, rng: np.random.Generator) -> Iterator[Answer]:
    """What ``build`` answers, one after another: lognormal times, tokens that differ from prompt to prompt."""
    while True:
        spread, other, tokens = np.exp(rng.normal(0, (0.4, 0.3, 0.5)))
        first, gap = 0.2 * build.slower * spread, 0.02 * build.stutters * other
        said = int(200 * build.longer * tokens) + 1
        answer = Answer(
            200, first + gap * said, first, "ok", tokens=said, prompt_tokens=50, gap_mean_seconds=gap,
            gap_longest_seconds=3 * gap, finish="stop",
        )  # fmt: skip
        fate = rng.random()
        if fate < build.truncated:
            answer = replace(answer, finished=False, error="cut short", fault=Fault.TRUNCATED)
        elif fate < build.truncated + build.refused:
            answer = replace(answer, refusal="I cannot help with that.")
        yield answer


def rollout(build: Build, seed: int) -> tuple[str, float]:
    """The gate that failed (empty when none did), and how many probes of the canary it had taken."""
    sides = {role: Tally(priced=False) for role in (Role.BASELINE, Role.CANARY)}
    rngs = np.random.default_rng(seed).spawn(2)
    streams = {Role.BASELINE: answers(BUILDS[0], rngs[0]), Role.CANARY: answers(build, rngs[1])}
    judge, now, polls = Judge(share_alpha(gates()), STAGES), 0.0, list[Sample]()

    def poll(at: float) -> dict[Role, Sample]:
        for role, stream in streams.items():
            for _ in range(int(RATE * POLL)):
                sides[role].take(next(stream), None)
        return {role: told(tally, at) for role, tally in sides.items()}

    last = Sample(0.0)
    while now < WINDOW:
        now += POLL
        sample = poll(now)[Role.BASELINE]
        polls.append(sample.since(last) or sample)
        last = sample
    judge.capture(last, polls)
    before = {role: told(tally, now) for role, tally in sides.items()}
    first = before[Role.CANARY].counters["probe.requests"]
    for stage in range(STAGES):
        judge.start_stage(stage, now, 0.05, True, HOLD, 0, before)
        for _ in range(int(HOLD / POLL)):
            now += POLL
            before = poll(now)
            judge.observe(before, now)
            bad = [verdict.gate for verdict in judge.verdicts() if verdict.status == "fail"]
            if bad:
                return bad[0], before[Role.CANARY].counters["probe.requests"] - first
    return "", 0.0


def gates() -> list[Gate]:
    """Those above, as a file declares them."""
    found = {name: metric(name) for name in GATES}
    return [Gate(name, one, Limits(ratio=GATES[name])) for name, one in found.items() if one is not None]


def told(tally: Tally, at: float) -> Sample:
    """A sample with what probes have counted, and users beside."""
    counters, histograms = tally.told()
    return Sample(at, {"requests": 1000.0 * at, **counters}, histograms)


def cost() -> None:
    """CPU time of one result, memory of all, time of a poll, and of reading one streamed answer."""
    stream = answers(BUILDS[0], np.random.default_rng(1))
    results = [next(stream) for _ in range(RESULTS)]
    tally = Tally(priced=True)
    began = time.process_time()
    for answer in results:
        tally.take(answer, 1e-5)
    each = (time.process_time() - began) / RESULTS
    began = time.process_time()
    for _ in range(1000):
        tally.told()
    poll = (time.process_time() - began) / 1000
    tracemalloc.start()
    held = Tally(priced=True)
    empty = tracemalloc.get_traced_memory()[0]
    for answer in results:
        held.take(answer, 1e-5)
    grown = tracemalloc.get_traced_memory()[0] - empty
    tracemalloc.stop()
    print(f"{RESULTS:,} results: {1e6 * each:.1f} us each, {grown / 1024:.0f} KiB more held, {empty / 1024:.0f} before")
    print(f"one poll of one role: {1e3 * poll:.2f} ms")
    print(f"reading a stream of {TOKENS} tokens: {1e3 * reading():.2f} ms")


def reading() -> float:
    """Seconds to read one streamed answer from its bytes, in pieces as a network brings them."""
    chunk = {"choices": [{"index": 0, "delta": {"content": "word "}, "finish_reason": None}], "model": "m"}
    pieces = [f"data: {json.dumps(chunk)}\n\n".encode() for _ in range(TOKENS)] + [b"data: [DONE]\n\n"]
    began = time.process_time()
    for _ in range(200):
        events, read = EventReader(), Reading(Prompt(body={}, stream=True), status=200)
        for piece in pieces:
            for event in events.feed(piece):
                read.event(event, 0.1)
        assert read.answer(1.0).fault is None
    return (time.process_time() - began) / 200


def power(rollouts: int) -> None:
    """How often each build is rolled back, after how many probes, and by which gate."""
    for build in BUILDS:
        ended = [rollout(build, seed) for seed in range(rollouts)]
        caught = [(gate, probes) for gate, probes in ended if gate]
        after = f"after {median(probes for _, probes in caught):.0f} probes (median)" if caught else ""
        by = ", ".join(sorted({gate for gate, _ in caught}))
        print(f"{build.what:<30} {len(caught):>4} of {rollouts}  {after}  {by}", flush=True)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rollouts", type=int, default=200)
    parser.add_argument("--only", choices=("cost", "power"))
    given = parser.parse_args()
    if given.only != "power":
        cost()
    if given.only != "cost":
        power(given.rollouts)


if __name__ == "__main__":
    main()
