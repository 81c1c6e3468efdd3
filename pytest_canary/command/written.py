"""Stages as they are written in a rollout.yaml: those that are advised, ready to be pasted."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence

from pytest_canary.command.place import Place
from pytest_canary.power.ladders import Ladder
from pytest_canary.spec import Spec

PATIENCE = 3.0
"""A stage may take so many times its hold, while something speaks against the build."""


def written(ladder: Ladder, spec: Spec) -> tuple[str, ...]:
    """The steps, and the stages of the file that are larger than the last of them, each as it is written."""
    top, own = spec.document, spec.document.stages
    steps = []
    for step in ladder.steps:
        written = {"weight": f"{100 * step.share:g}", "hold": f"{step.seconds:.0f}s", "min_requests": step.requests}
        if top.deadline is not None and top.deadline < PATIENCE * step.seconds:
            written["deadline"] = f"{PATIENCE * step.seconds:.0f}s"
        stands_for = next((entry for entry in own if entry.weight >= step.share and entry.gates), None)
        steps.append(_flow(written, stands_for))
    for entry in own:
        if entry.weight > ladder.steps[-1].share:
            weight = f"{100 * entry.weight:g}"
            said: dict[str, object] = {"weight": weight}
            said |= {"hold": f"{entry.hold:g}s"} if entry.hold is not None else {}
            said |= {"min_requests": entry.min_requests} if entry.min_requests is not None else {}
            if "deadline" in entry.model_fields_set:
                said["deadline"] = "none" if entry.deadline is None else f"{entry.deadline:g}s"
            steps.append(_flow(said, entry) if len(said) > 1 or entry.gates else weight)
    return tuple(steps)


def _flow(said: Mapping[str, object], entry: object = None) -> str:
    words = [f"{key}: {value}" for key, value in said.items()]
    gates = getattr(entry, "gates", {})
    if gates:
        limits = {name: one.model_dump(exclude_unset=True) for name, one in gates.items()}
        words.append(f"gates: {json.dumps(limits)}")
    return f"{{{', '.join(words)}}}"


def snippet(place: Place, stages: Sequence[str]) -> Iterator[str]:
    """What to paste, as far to the right as what it stands for."""
    _, _, number = place.spec.where("stages").rpartition(":")
    path, margin = os.path.relpath(place.spec.path), ""
    if number.isdigit():
        line = place.spec.path.read_text(encoding="utf-8").splitlines()[int(number) - 1]
        margin = line[: len(line) - len(line.lstrip())] if line.lstrip().startswith("stages:") else ""
        yield f"write in place of `stages` at {path}:{number}:"
    else:
        yield f"write in place of `stages` in {path}:"
    yield f"{margin}stages:"
    for stage in stages:
        yield f"{margin}  - {stage}"


def listed(stages: Sequence[str]) -> str:
    """The same in one line, as `--set stages=...` reads it."""
    return f"[{', '.join(stages)}]"
