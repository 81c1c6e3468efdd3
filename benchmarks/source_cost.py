"""What one look costs with 50 replicas and 12 gates: asked of a real Prometheus, and read from the replicas themselves.

    python benchmarks/source_cost.py [REPLICAS] [ROUNDS]

The replicas are pages as long as vLLM's, served by another process on the same machine; both sources read the same
ones in turn, by the same profile.  Medians in milliseconds, of the wall and of this process.
"""

from __future__ import annotations

import asyncio
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pytest_canary import Role, Sample, Shared, SystemClock
from pytest_canary.adapters.prometheus import PrometheusMetrics
from pytest_canary.adapters.scrape import ScrapeMetrics
from pytest_canary.gates import Gate, Limits, metric
from pytest_canary.verdict import Judge
from tests.prometheus.servers import Pod, prometheus, told, until

BOTH = (Role.BASELINE, Role.CANARY)
GATES = (
    *("error_rate", "client_error_rate", "latency_p50", "latency_p95", "latency_p99", "ttft_p50", "ttft_p99"),
    *("inter_token_latency_p95", "queue_time_p95", "output_tokens", "input_tokens", "cache_hit_rate"),
)
EDGES = (0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10, 20, 40, 80, 160, 640, 2560)
HISTOGRAMS = (
    *("e2e_request_latency_seconds", "time_to_first_token_seconds", "inter_token_latency_seconds"),
    *("request_queue_time_seconds", "request_prompt_tokens", "request_generation_tokens"),
)
OTHERS = 18
"""Histograms of which no gate knows anything."""
COUNTERS = ("prompt_tokens", "prompt_tokens_cached", "generation_tokens", "prefix_cache_hits", "prefix_cache_queries")
READY_SECONDS = 60.0


def text(requests: int) -> str:
    """What vLLM says after so many requests."""
    labels, lines = 'engine="0",model_name="meta-llama/Llama-3.1-8B-Instruct"', list[str]()
    for name in (*HISTOGRAMS, *(f"other_{nth}_seconds" for nth in range(OTHERS))):
        lines += [f"# HELP vllm:{name} Histogram of something.", f"# TYPE vllm:{name} histogram"]
        share = [min(1.0, (nth + 1) / len(EDGES) * 1.2) for nth in range(len(EDGES))]
        lines += [
            f'vllm:{name}_bucket{{{labels},le="{e}"}} {int(requests * s)}' for e, s in zip(EDGES, share, strict=True)
        ]
        lines += [f'vllm:{name}_bucket{{{labels},le="+Inf"}} {requests}', f"vllm:{name}_count{{{labels}}} {requests}"]
        lines += [f"vllm:{name}_sum{{{labels}}} {requests * 0.7}"]
    for name in COUNTERS:
        lines += [f"# TYPE vllm:{name}_total counter", f"vllm:{name}_total{{{labels}}} {requests * 200}"]
    lines += ["# TYPE http_requests_total counter"]
    for status, part in (("2xx", 0.97), ("4xx", 0.02), ("5xx", 0.01)):
        where = f'handler="/v1/chat/completions",method="POST",status="{status}"'
        lines += [f"http_requests_total{{{where}}} {int(requests * part)}"]
    lines += ["# TYPE vllm:num_requests_running gauge", f"vllm:num_requests_running{{{labels}}} 3"]
    return "\n".join(lines) + "\n"


async def serve(ports: list[int]) -> None:
    """A page on each port, which grows by 20 requests a second."""
    began, page = time.monotonic(), b""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await reader.readline():
            while (await reader.readline()).strip():
                pass
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4\r\n")
            writer.write(b"Content-Length: %d\r\n\r\n" % len(page) + page)
            await writer.drain()
        writer.close()

    page = text(5000).encode()
    for port in ports:
        await asyncio.start_server(answer, "127.0.0.1", port)
    print("ready", flush=True)
    while True:
        await asyncio.sleep(0.5)
        page = text(5000 + int(20 * (time.monotonic() - began))).encode()


@contextmanager
def replicas(pods: list[Pod]) -> Iterator[None]:
    """Their pages, by a process of their own."""
    command = [sys.executable, __file__, "--serve", *(str(pod.port) for pod in pods)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout
            assert process.stdout.readline() == b"ready\n"
            yield
        finally:
            process.kill()
            process.wait(20)


def shared(folder: Path) -> Shared:
    """What the adapters of one target are given."""
    return Shared("gateway", SystemClock(), folder, folder)


def sources(folder: Path, url: str, sides: dict[Role, list[Pod]]) -> dict[str, Any]:
    """Both, by the same profile."""
    asking = shared(folder)
    asking.labels |= {role: told(*pods) for role, pods in sides.items()}
    prom = PrometheusMetrics.Options(url=url, profile="vllm", scrape_interval=1, timeout=60)
    direct = {role: [f"http://{pod.target}" for pod in pods] for role, pods in sides.items()}
    scrape = ScrapeMetrics.Options.model_validate({"profile": "vllm", "roles": direct, "timeout": 60})
    return {
        "prometheus": PrometheusMetrics.connect(prom, asking),
        "scrape": ScrapeMetrics.connect(scrape, shared(folder)),
    }


def judge_of(samples: dict[Role, Sample]) -> Judge:
    """One stage under twelve gates."""
    gates = [Gate(name, metric(name), Limits(ratio=1.5)) for name in GATES]
    judge = Judge(gates, 4)
    judge.capture(samples[Role.BASELINE], [samples[Role.BASELINE]])
    judge.start_stage(0, 600.0, 0.5, True, 300.0, 500, samples)
    return judge


def timed(act: Callable[[], object]) -> tuple[object, float, float]:
    """What ``act`` returns, and its milliseconds of the wall and of this process."""
    wall, own = time.perf_counter(), time.process_time()
    found = act()
    return found, 1000 * (time.perf_counter() - wall), 1000 * (time.process_time() - own)


def main() -> None:
    """Measure and print."""
    number, rounds = (int(given) for given in (*sys.argv[1:], "50", "30")[:2])
    with tempfile.TemporaryDirectory() as name, prometheus(Path(name), {"second": number}) as server:
        pods = server.pods
        with replicas(pods):
            until(lambda: len(server.ask("up == 1")) == number, READY_SECONDS, "the first scrapes")
            sides = {Role.BASELINE: pods[: number // 2], Role.CANARY: pods[number // 2 :]}
            measure(sources(Path(name), server.url, sides), number, rounds)


def measure(made: dict[str, Any], number: int, rounds: int) -> None:
    """Each source in turn, and the judge behind it."""
    took: dict[str, list[tuple[float, float]]] = {name: [] for name in (*made, "judge")}
    judges = {name: judge_of(source.poll(BOTH)) for name, source in made.items()}
    for nth in range(rounds):
        for name, source in made.items():
            samples, *times = timed(lambda source=source: source.poll(BOTH))
            took[name].append((times[0], times[1]))

            def judged(judge: Judge = judges[name], samples: Any = samples, at: float = 5.0 * nth + 5) -> None:
                judge.observe(samples, at)
                judge.verdicts()

            _, *times = timed(judged)
            took["judge"].append((times[0], times[1]))
        time.sleep(0.2)
    for source in made.values():
        source.stop()
    print(f"{number} replicas, pages of {len(text(5000).splitlines())} lines and {len(text(5000)) // 1000} kB")
    middle = {name: [statistics.median(column) for column in zip(*each, strict=True)] for name, each in took.items()}
    for name, (wall, own) in middle.items():
        print(f"{name:<12} {wall:7.1f} ms of the wall, {own:7.1f} ms of this process")
    ratios = [a / b for a, b in zip(middle["scrape"], middle["prometheus"], strict=True)]
    print(f"scrape / prometheus: {ratios[0]:.2f} of the wall, {ratios[1]:.2f} of this process")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--serve"]:
        asyncio.run(serve([int(port) for port in sys.argv[2:]]))
    else:
        main()
