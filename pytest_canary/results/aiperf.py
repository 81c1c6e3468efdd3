"""aiperf's ``profile_export_aiperf.json`` and ``profile_export.jsonl``, and genai-perf's summary, which they come from.

aiperf 0.1 has its metrics under ``records``, later ones at the top; each metric says its unit.
"""

from __future__ import annotations

from typing import Any

from pytest_canary.results.numbers import QUANTILES, File, at, date_of, failures, figures_of, load_of, text_at
from pytest_canary.results.values import Figure, Result

TOOL, OLDER = "aiperf", "genai-perf"
UNITS = {"ns": 1e-9, "us": 1e-6, "ms": 1e-3, "s": 1.0, "sec": 1.0, "seconds": 1.0, "tokens": 1.0}
NAMES = {
    "latency": "request_latency",
    "ttft": "time_to_first_token",
    "inter_token_latency": "inter_token_latency",
    "output_tokens": "output_sequence_length",
    "input_tokens": "input_sequence_length",
}
"""Our name -> theirs.  Its `inter_token_latency` is one mean for each answer; the gaps are `inter_chunk_latency`."""
GAPS = "inter_chunk_latency"
NO_STREAM = "its answers were not streamed; type `--streaming`"
LACKS = {"ttft": NO_STREAM, "inter_token_latency": NO_STREAM}
OLDER_LACKS = {
    **LACKS,
    "inter_token_latency_p": "genai-perf knows the mean of each answer, and not its single gaps; measure with aiperf",
    "error_rate": "genai-perf does not say how many requests failed; measure with aiperf",
}
MODEL = (
    ("models", "items", 0, "name"),
    ("endpoint", "model_names"),
    ("model_names",),
    ("model_name",),
)
"""Where the versions say which model they asked."""


def is_ours(data: dict[str, Any]) -> bool:
    """Whether ``data`` is a summary of one of the two."""
    metrics = data.get("records", data)
    return isinstance(at(metrics, "request_latency", "unit"), str)


def is_record(data: Any) -> bool:
    """Whether ``data`` is one line of ``profile_export.jsonl``."""
    return isinstance(data, dict) and isinstance(data.get("metadata"), dict) and isinstance(data.get("metrics"), dict)


def read(data: dict[str, Any], file: File) -> Result:
    """One summary; raises SpecError when there is something in it that cannot be."""
    metrics = data["records"] if isinstance(data.get("records"), dict) else data
    newer = any(key in data for key in ("records", "aiperf_version", "was_cancelled", "error_summary"))
    if data.get("is_complete") is False:
        raise file.wrong(f"the run was not finished: {data.get('incomplete_reason') or 'it does not say why'}")
    counted = _number(metrics, "request_count", "avg", file)
    answered = round(_number(metrics, "request_latency", "count", file) or 0 if counted is None else counted)
    failed = round(_number(metrics, "error_request_count", "avg", file) or 0) if newer else None
    file.some(answered, failed or 0, str(at(data, "error_summary", 0, "error_details", "message") or ""))
    figures = {**_figures(metrics, answered, file), **failures(answered, failed)}
    file.sane(figures, _number(metrics, "benchmark_duration", "avg", file))
    config, began = data.get("input_config"), data.get("start_time")
    model = next((found for path in MODEL if (found := text_at(config, *path))), None)
    cancelled = ("the run was cancelled, so its slowest requests may be missing",) if data.get("was_cancelled") else ()
    return Result(
        file.name, TOOL if newer else OLDER, figures, answered, failed, model,
        began[:10] if isinstance(began, str) else "", _load(config), LACKS if newer else OLDER_LACKS, cancelled,
    )  # fmt: skip


def _number(metrics: dict[str, Any], key: str, statistic: str, file: File) -> float | None:
    value = at(metrics, key, statistic)
    return None if value is None else file.number(value, f"{key}.{statistic}")


def _figures(metrics: dict[str, Any], answered: int, file: File) -> dict[str, Figure]:
    found = dict[str, Figure]()
    for name, key in NAMES.items():
        spread = GAPS if name == "inter_token_latency" else key
        keys = {name: (key, "avg")} | {f"{name}_p{q}": (spread, f"p{q}") for q in QUANTILES}
        for ours, (metric, statistic) in keys.items():
            value = at(metrics, metric, statistic)
            if value is not None and (number := file.number(value, f"{metric}.{statistic}")):
                of = at(metrics, metric, "count")
                found[ours] = Figure(
                    number * _unit(metrics[metric], metric, file), of if isinstance(of, int) else answered
                )
    return found


def _unit(metric: dict[str, Any], key: str, file: File) -> float:
    unit = metric.get("unit")
    if not isinstance(unit, str) or unit not in UNITS:
        raise file.wrong(f"{key}.unit: found {unit!r}, expected one of {', '.join(UNITS)}")
    return UNITS[unit]


def _load(config: Any) -> str:
    """The measured phase of newer files, the load generator of older ones, genai-perf's stimulus."""
    phases = [one for one in at(config, "phases") or [] if isinstance(one, dict)]
    phase = next((one for one in phases if one.get("kind", one.get("name")) == "profiling"), None)
    stimulus = at(config, "perf_analyzer", "stimulus")
    if phase is not None:
        return load_of(phase.get("rate"), phase.get("concurrency"))
    if isinstance(stimulus, dict):
        return load_of(stimulus.get("request_rate"), stimulus.get("concurrency"))
    return load_of(at(config, "loadgen", "request_rate"), at(config, "loadgen", "concurrency"))


def read_records(records: list[dict[str, Any]], file: File) -> Result:
    """One ``profile_export.jsonl``: a line for each request, which does not say the model or the load."""
    asked = [(n, one) for n, one in enumerate(records, start=1) if at(one, "metadata", "benchmark_phase") != "warmup"]
    good = [(n, one) for n, one in asked if not one.get("error") and not at(one, "metadata", "was_cancelled")]
    failed = sum(bool(one.get("error")) for _, one in asked)
    first = next((one["error"] for _, one in asked if one.get("error")), None)
    file.some(len(good), failed, str(at(first, "message") or first or ""))
    figures = dict[str, Figure]()
    for name, key in NAMES.items():
        figures |= figures_of(name, _values(good, key, file))
    gaps = figures_of("inter_token_latency", _values(good, GAPS, file), mean=False)
    means = {"inter_token_latency": figures["inter_token_latency"]} if "inter_token_latency" in figures else {}
    figures = {n: f for n, f in figures.items() if not n.startswith("inter_token_latency")} | means | gaps
    figures |= failures(len(good), failed)
    file.sane(figures, None)
    began = at(good[0][1], "metadata", "request_start_ns")
    date = date_of(began / 1e9) if isinstance(began, int) else ""
    return Result(file.name, TOOL, figures, len(good), failed, date=date, lacks=LACKS)


def _values(records: list[tuple[int, dict[str, Any]]], key: str, file: File) -> list[float]:
    found = list[float]()
    for number, record in records:
        metric = record["metrics"].get(key)
        if not isinstance(metric, dict) or metric.get("value") is None:
            continue
        unit, value = _unit(metric, f"line {number}: {key}", file), metric["value"]
        values = value if isinstance(value, list) else [value]
        found += [file.number(one, f"line {number}: {key}") * unit for one in values]
    return found
