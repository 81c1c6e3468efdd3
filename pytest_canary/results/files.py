"""A file on disk -> the Result in it, known by what it holds."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pytest_canary.results import aiperf, guidellm, vllm
from pytest_canary.results.numbers import File
from pytest_canary.results.values import Result

SIZE_LIMIT = 100 * 2**20
"""Bytes; a summary has some thousand."""
SMALLER = (
    "give the summary: vllm bench serve without `--save-detailed`, guidellm with `sample_size=0` in `--metrics`, "
    "aiperf's profile_export_aiperf.json"
)
FORMATS = ("vllm", "guidellm", "aiperf", "genai-perf")
EXPECTED = (
    "a result of `vllm bench serve --save-result`, guidellm's benchmarks.json, aiperf's profile_export_aiperf.json or "
    "profile_export.jsonl, or genai-perf's profile_export_genai_perf.json"
)
_KNOWN: dict[str, Callable[[dict[str, Any]], bool]] = {
    "vllm": vllm.is_ours,
    "guidellm": guidellm.is_ours,
    "aiperf": aiperf.is_ours,
}


def read_result(path: Path, where: str, *, name: str, kind: str | None = None, run: int | None = None) -> Result:
    """Read ``path``, which ``where`` calls ``name``; ``kind`` is one of FORMATS, found out by content when None.

    ``run`` chooses one of several runs in the file, from 1.

    Raises:
        SpecError: the file cannot be read, is no result of a tool that we know, or of a run that measured nothing.

    """
    file = File(name, where)
    values = _values(_text(path, file), file)
    if len(values) > 1 and aiperf.is_record(values[0]):
        result, found, runs = (
            aiperf.read_records([_record(one, n, file) for n, one in enumerate(values, 1)], file),
            "aiperf",
            1,
        )
        _one_of(list(range(runs)), run, file, str)
    else:
        found, result = _summary(values, run, file)
    if kind is not None and kind.replace("genai-perf", "aiperf") != found:
        raise file.wrong(f"is a result of {result.tool}, and `format: {kind}` was said")
    return result


def _record(data: Any, number: int, file: File) -> dict[str, Any]:
    if not aiperf.is_record(data):
        raise file.wrong(f"line {number}: expected `metadata` and `metrics`, as on line 1")
    return dict(data)


def _summary(values: list[Any], run: int | None, file: File) -> tuple[str, Result]:
    """VLLM appends its results to a file, guidellm keeps those of a sweep in a list."""
    first = values[0]
    kind = next((kind for kind, ours in _KNOWN.items() if isinstance(first, dict) and ours(first)), None)
    if kind is None:
        held = f"keys {', '.join(list(first)[:5])}" if isinstance(first, dict) and first else type(first).__name__
        raise file.wrong(f"is no result of a load tool that is known here ({held}); expected {EXPECTED}")
    if kind == "guidellm":
        one = _one_of(guidellm.runs(first), run, file, guidellm.label)
        return kind, guidellm.read(one, file)
    if kind == "vllm":
        ours = [value for value in values if isinstance(value, dict) and vllm.is_ours(value)]
        return kind, vllm.read(_one_of(ours, run, file, lambda one: str(one.get("date", "?"))), file)
    return kind, aiperf.read(_one_of([first], run, file, str), file)


def _one_of(runs: list[Any], run: int | None, file: File, label: Callable[[Any], str]) -> Any:
    if not runs:
        raise file.wrong("it has no runs; measure again")
    if run is None and len(runs) > 1:
        named = "; ".join(f"{number}: {label(one)}" for number, one in enumerate(runs, start=1))
        raise file.wrong(f"holds {len(runs)} runs ({named}); say which with `run: 1` beside `file`")
    if run is not None and not 1 <= run <= len(runs):
        raise file.wrong(f"holds {len(runs)} runs, and `run: {run}` was said")
    return runs[(run or 1) - 1]


def _text(path: Path, file: File) -> str:
    try:
        if path.exists() and not path.is_file():
            raise file.wrong("is not a file")
        size = path.stat().st_size
        if size > SIZE_LIMIT:
            raise file.wrong(f"is larger than {SIZE_LIMIT >> 20} MB ({size / 2**20:.0f} MB); {SMALLER}")
        return path.read_bytes().decode().removeprefix("\ufeff")
    except OSError as error:
        raise file.wrong(f"cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise file.wrong(f"is not UTF-8 text (byte {error.start})") from error


def _values(text: str, file: File) -> list[Any]:
    """The JSON values in it, one after the other; most files have one."""
    decoder, values, end = json.JSONDecoder(), list[Any](), 0
    at = _after_space(text, 0)
    while at < len(text):
        try:
            value, end = decoder.raw_decode(text, at)
        except json.JSONDecodeError as error:
            cut = " (is it cut short?)" if values or text.lstrip()[:1] in ("{", "[") else f"; expected {EXPECTED}"
            raise file.wrong(f"line {error.lineno}, column {error.colno}: is not JSON: {error.msg}{cut}") from None
        except (ValueError, RecursionError):
            raise file.wrong("is not JSON: nested too deeply, or a number too long") from None
        values.append(value)
        at = _after_space(text, end)
    if not values:
        raise file.wrong(f"is empty; expected {EXPECTED}")
    return values


def _after_space(text: str, at: int) -> int:
    while at < len(text) and text[at] in " \t\r\n":
        at += 1
    return at
