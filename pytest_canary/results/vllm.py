"""``vllm bench serve --save-result``, and the benchmark_serving.py that it was before.

The summary's times are in ms, the lists of ``--save-detailed`` in seconds; a failed request is in them with noughts.
"""

from __future__ import annotations

import re
from typing import Any, TypeVar

from pytest_canary.results.numbers import QUANTILES, File, failures, figures_of, load_of
from pytest_canary.results.values import Figure, Result

TOOL = "vllm bench serve"
WORDS = {"ttft": "ttft", "inter_token_latency": "itl", "latency": "e2el"}
"""Our name -> vLLM's."""
TYPE_QUANTILES = "type `--metric-percentiles 50,90,95,99`"
LACKS = {
    "ttft": f"the summary has other percentiles; {TYPE_QUANTILES}, or `--save-detailed`",
    "inter_token_latency": f"the summary has other percentiles; {TYPE_QUANTILES}, or `--save-detailed`",
    "latency": f"type `--percentile-metrics ttft,tpot,itl,e2el` and {TYPE_QUANTILES[5:]}, or `--save-detailed`",
    "output_tokens_p": "the summary has only their mean; type `--save-detailed`",
    "input_tokens_p": "the summary has only their mean; type `--save-detailed`",
    "error_rate": "older vLLM (0.11) does not count failures in its summary; type `--save-detailed`",
}
NO_STREAM = "its answers were not streamed"

_T = TypeVar("_T")


def is_ours(data: dict[str, Any]) -> bool:
    """Whether ``data`` is a result of this tool."""
    return "model_id" in data and ("completed" in data or "request_throughput" in data)


def read(data: dict[str, Any], file: File) -> Result:
    """One result; raises SpecError when there is something in it that cannot be."""
    completed, good = file.count(data, "completed"), _good(data, file)
    failed = _failed(data, file, completed, good)
    file.some(completed, failed or 0, next((str(e) for e in data.get("errors") or [] if e), ""))
    summary = _summary(data, file, completed)
    detailed = _detailed(data, file, good)
    _same_unit(summary, detailed, file)
    figures = {**detailed, **summary, **failures(completed, failed)}
    file.sane(figures, file.number(data.get("duration") or 0, "duration"))
    measured = {name.partition("_p")[0] for name in figures}
    silent = {name for name in ("ttft", "inter_token_latency") if f"mean_{WORDS[name]}_ms" in data} - measured
    return Result(
        file.name, TOOL, figures, completed, failed, _text(data.get("model_id")), _date(data.get("date")),
        load_of(data.get("request_rate"), data.get("max_concurrency")), LACKS | dict.fromkeys(silent, NO_STREAM),
    )  # fmt: skip


def _good(data: dict[str, Any], file: File) -> list[int] | None:
    """Which of the single requests were answered; None where there are none on record."""
    errors, lasted = data.get("errors"), data.get("latencies")
    if isinstance(errors, list):
        return [index for index, error in enumerate(errors) if not error]
    if isinstance(lasted, list):  # 0.32 leaves these in its summary, too
        return [index for index, seconds in enumerate(file.numbers(data, "latencies")) if seconds]
    return None


def _failed(data: dict[str, Any], file: File, completed: int, good: list[int] | None) -> int | None:
    if "failed" in data:
        return file.count(data, "failed")
    if good is not None:
        return len(data.get("errors") or data["latencies"]) - len(good)
    return 0 if data.get("num_prompts") == completed else None  # fewer may have been sent than were asked for


def _summary(data: dict[str, Any], file: File, completed: int) -> dict[str, Figure]:
    """Means and percentiles, in ms; a nought is what it writes of nothing."""
    keys = {"inter_token_latency": ("mean_tpot_ms", "mean_itl_ms"), "latency": ("mean_e2el_ms",)}
    for name, word in WORDS.items():
        keys |= {f"{name}_p{q}": (f"p{q}_{word}_ms",) for q in QUANTILES}
        keys[f"{name}_p50"] += (f"median_{word}_ms",)
    found = dict[str, Figure]()
    for name, known in keys.items():
        key = next((key for key in known if data.get(key) is not None), "")
        if key and (value := file.number(data[key], key)):
            found[name] = Figure(value / 1000, completed)
    for name, key in (("output_tokens", "total_output_tokens"), ("input_tokens", "total_input_tokens")):
        if data.get(key):
            found[name] = Figure(file.number(data[key], key) / completed, completed)
    return found


def _detailed(data: dict[str, Any], file: File, good: list[int] | None) -> dict[str, Figure]:
    """Means and quantiles of the single requests, in seconds."""
    if not good:
        return {}
    first, lasted = _of(good, file.numbers(data, "ttfts")), _of(good, file.numbers(data, "latencies"))
    gaps = [_gaps(one, index, file) for index, one in enumerate(data.get("itls") or [])]
    if first and gaps and not lasted:
        lasted = [ttft + sum(rest) for ttft, rest in zip(first, _of(good, gaps), strict=False)]
    return {
        **figures_of("ttft", first, mean=False),
        **figures_of("inter_token_latency", [gap for one in gaps for gap in one]),
        **figures_of("latency", lasted),
        **figures_of("output_tokens", _of(good, file.numbers(data, "output_lens"))),
        **figures_of("input_tokens", _of(good, file.numbers(data, "input_lens"))),
    }


def _gaps(gaps: Any, index: int, file: File) -> list[float]:
    return file.numbers({f"itls[{index}]": gaps}, f"itls[{index}]")


def _of(good: list[int], values: list[_T]) -> list[_T]:
    return [values[index] for index in good if index < len(values)]


def _same_unit(summary: dict[str, Figure], detailed: dict[str, Figure], file: File) -> None:
    """The two parts of a file must agree, whatever was done to it."""
    for name in ("ttft_p50", "ttft_p99", "latency_p50", "latency_p99"):
        one, other = summary.get(name), detailed.get(name)
        if one and other and not 0.8 < one.value / other.value < 1.25:
            raise file.wrong(
                f"{name} is {one.value * 1000:.4g} ms in the summary and {other.value:.4g} s in the lists of single "
                "requests; one of them is in another unit"
            )


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None


def _date(value: Any) -> str:
    found = re.match(r"(\d{4})(\d\d)(\d\d)-", str(value))
    return "-".join(found.groups()) if found else ""
