"""guidellm's ``benchmarks.json``, of its versions from 0.2 to 0.8: without a schema, schema 1 and schema 2."""

from __future__ import annotations

from typing import Any

from pytest_canary.results.numbers import QUANTILES, File, at, date_of, failures, load_of, text_at
from pytest_canary.results.values import Figure, Result

TOOL = "guidellm"
TIMES = {
    "latency": ("request_latency", 1.0),
    "ttft": ("time_to_first_token_ms", 0.001),
    "inter_token_latency": ("inter_token_latency_ms", 0.001),
}
TOKENS = {"output_tokens": ("output_token_count", 1.0), "input_tokens": ("prompt_token_count", 1.0)}
"""Our name -> guidellm's, and how many of our units one of theirs is."""
LACKS = {
    "inter_token_latency_p": "guidellm knows the mean of each answer, and not its single gaps",
    "inter_token_latency": "its answers were not streamed",
    "ttft": "its answers were not streamed",
}


def is_ours(data: dict[str, Any]) -> bool:
    """Whether ``data`` is a report of this tool."""
    return isinstance(data.get("benchmarks"), list)


def runs(data: dict[str, Any]) -> list[dict[str, Any]]:
    """The benchmarks of a report: one for each rate of a sweep."""
    return [one for one in data["benchmarks"] if isinstance(one, dict)]


def read(data: dict[str, Any], file: File) -> Result:
    """One benchmark; raises SpecError when there is something in it that cannot be."""
    totals = next((found for path in TOTALS if isinstance(found := at(data, *path), dict)), None)
    if totals is None or not isinstance(data.get("metrics"), dict):
        raise file.wrong("found no `metrics` and `request_totals`; is it a whole report?")
    answered, failed = file.count(totals, "successful"), file.count(totals, "errored")
    file.some(answered, failed)
    figures = {**_figures(data["metrics"], file), **failures(answered, failed)}
    duration = data.get("duration")
    file.sane(figures, None if duration is None else file.number(duration, "duration"))
    model = text_at(data, "config", "backend", "model") or text_at(data, "worker", "backend_model")
    return Result(
        file.name, TOOL, figures, answered, failed, model, date_of(data.get("start_time")), _load(data), LACKS,
        _doubts(totals),
    )  # fmt: skip


TOTALS = (("metrics", "request_totals"), ("request_totals",), ("run_stats", "requests_made"))


def _figures(metrics: dict[str, Any], file: File) -> dict[str, Figure]:
    found = dict[str, Figure]()
    for name, (key, unit) in (TIMES | TOKENS).items():
        summary = at(metrics, key, "successful")
        if not isinstance(summary, dict) or not summary.get("count"):
            continue
        of, here = file.count(summary, "count"), f"metrics.{key}.successful"
        values = {name: (summary.get("mean"), f"{here}.mean")}
        for q in QUANTILES if name != "inter_token_latency" else ():
            values[f"{name}_p{q}"] = (at(summary, "percentiles", f"p{q}"), f"{here}.percentiles.p{q}")
        for ours, (value, place) in values.items():
            if value is not None and (number := file.number(value, place)):
                found[ours] = Figure(number * unit, of)
    return found


def _load(data: dict[str, Any]) -> str:
    strategy = at(data, "config", "strategy") or at(data, "args", "strategy") or {}
    rate, kind = at(strategy, "rate"), at(strategy, "type_")
    if kind == "synchronous":
        return load_of(None, 1)
    return load_of(rate, None if rate is not None else at(strategy, "streams"))


def label(data: dict[str, Any]) -> str:
    """What tells one benchmark of a report from the others."""
    kind = at(data, "config", "strategy", "type_") or at(data, "args", "strategy", "type_") or "?"
    return f"{kind} {_load(data)}"


def _doubts(totals: dict[str, Any]) -> tuple[str, ...]:
    cut = totals.get("incomplete")
    return (f"{cut} requests were under way when it ended, and are not in it",) if cut else ()
