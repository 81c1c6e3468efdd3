"""Which rollout a test means: a rollout.yaml, its folder or its text -> Spec and Plan."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from pytest_canary.command.marks import declared_in
from pytest_canary.errors import UsageError
from pytest_canary.plan import Plan, make_plan
from pytest_canary.scenario import simulable
from pytest_canary.spec import Spec, load
from pytest_canary.standin import MADE_UP
from pytest_canary.testing.arguments import texts

Source = str | Path
"""A rollout.yaml, the folder it lies in, or its text."""
FILE = "rollout.yaml"


@contextmanager
def planned(
    rollout: Source, *, target: str | None = None, overrides: Sequence[str] = (), tests: Sequence[str] = ()
) -> Iterator[tuple[Spec, Plan]]:
    """What ``rollout`` says and the plan of it, for a simulation; gates of tests beside the file are in it.

    ``tests`` are the names of those that are asked at stages.

    Raises:
        UsageError: there is no such file, or one line for each mistake in it.

    """
    with TemporaryDirectory() as folder:
        over = texts(overrides, "overrides", "stages=5,100")
        spec = load(_file(rollout, Path(folder)), target=target, overrides=over, simulated=True)
        declared = [one for one in declared_in(spec.folder) if one.kind == "gate"]
        marked = [((one.metric,), one.options, one.where) for one in declared if one.options is not None]
        plan = make_plan(spec, rollout=FILE, image=f"{spec.service}:{MADE_UP}", marked=marked, required_tests=tests)
        yield spec, simulable(replace(plan, keep=False, build=(), refuse_rejected=False))


def _file(rollout: Source, folder: Path) -> Path:
    if not isinstance(rollout, str | Path):
        raise UsageError(f"found {rollout!r}, expected a rollout.yaml, its folder, or its text")
    if isinstance(rollout, str) and "\n" in rollout:
        path = folder / FILE
        path.write_text(rollout)
        return path
    path = Path(rollout)
    path = path / FILE if path.is_dir() else path
    if not path.is_file():
        raise UsageError(f"found no {path}, expected a rollout.yaml, its folder, or its text")
    return path
