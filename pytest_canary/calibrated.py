"""``calibration.json``: what was measured on a service's own history, and which gates of a plan it holds for.

One file beside the rollout.yaml, with an entry per target, written by ``pytest-canary calibrate``.  It only ever
raises what the rollout.yaml asks for: a history may lack the trouble that a rollout meets.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from math import isfinite
from pathlib import Path
from typing import Any

from pytest_canary.errors import UsageError
from pytest_canary.gates import Gate

VERSION = 1
FILE = "calibration.json"
_DAY = 86400.0


@dataclass(frozen=True, slots=True)
class Share:
    """How many of so many plays were rolled back, and the interval of the rate (95 %, Clopper and Pearson)."""

    stopped: int
    plays: int
    low: float
    high: float

    @property
    def rate(self) -> float:
        """0..1."""
        return self.stopped / self.plays if self.plays else 0.0

    def __str__(self) -> str:
        if not self.plays:
            return "not played"
        return f"{100 * self.rate:.2g} % ({100 * self.low:.1f}-{100 * self.high:.1f})"


@dataclass(frozen=True, slots=True)
class Calibrated:
    """One gate: what it is raised to, and what was measured before and after."""

    gate: str
    plan: str
    """:func:`digest_of` the gate that was measured."""
    phi: float
    """Its design effect."""
    replicas: float
    """Evidence that replicas must show by themselves."""
    before: Share
    after: Share
    enough: bool = True
    """Whether false rollbacks are rare with these."""
    floor: float | None = None
    """How many times worse than itself the stable build looks, one comparison in twenty; None where nobody can say."""
    smallest: float | None = None
    """The smallest ``ratio`` that makes sense; None where the floor is not known."""


@dataclass(frozen=True, slots=True)
class Calibration:
    """What was measured for one target."""

    at: float
    """Wall time, seconds since 1970."""
    of: str
    """What was played, in words: hours and replicas, and where they came from."""
    stages: str
    """:func:`digest_of_stages` that were played."""
    before: Share
    """False rollbacks of a good build by any gate, with the file's own levels."""
    after: Share
    gates: tuple[Calibrated, ...] = ()
    doubts: tuple[str, ...] = ()
    """Why the history may have had too little to teach."""

    def of_gate(self, gate: Gate) -> Calibrated | None:
        """What was measured for ``gate`` as it stands now; None where that is another one by now."""
        digest = digest_of(gate)
        return next((one for one in self.gates if one.gate == gate.name and one.plan == digest), None)


@dataclass(frozen=True, slots=True)
class Used:
    """What a plan makes of the file: the line that is shown, and the gates as they are raised."""

    says: str
    gates: tuple[Gate, ...]
    stale: bool = False


def digest_of(gate: Gate) -> str:
    """Eight hex digits of what a measured rate depends on: metric, limits, rule, levels."""
    stages = [[index, str(limits)] for index, limits in gate.stages]
    rule = [str(gate.decide), gate.against, gate.floor, gate.quantiles, gate.asked_alpha, gate.design_effect]
    levels = {name: str(value) for name, value in asdict(gate.levels).items()}
    parts = [gate.name, repr(asdict(gate.metric)), str(gate.limits), stages, rule, gate.by, gate.only_stages, levels]
    return hashlib.sha256(json.dumps(parts, default=str).encode()).hexdigest()[:8]


def digest_of_stages(stages: Sequence[tuple[float, float, int]], poll_seconds: float, holdback: float) -> str:
    """The same of stages, each as weight, hold in seconds and minimum requests."""
    parts = [[round(weight, 6), hold, least] for weight, hold, least in stages]
    return hashlib.sha256(json.dumps([parts, poll_seconds, holdback]).encode()).hexdigest()[:8]


def raised(gate: Gate, phi: float, replicas: float) -> Gate:
    """``gate`` with these, never below what it had, and known to have been played."""
    levels = replace(gate.levels, replicas=max(gate.levels.replicas, replicas))
    return replace(gate, design_effect=max(gate.design_effect, phi), levels=levels, calibrated=True)


def laid_over(
    gates: Sequence[Gate], calibration: Calibration, *, stages: str, now: float | None, max_age: float, again: str
) -> Used:
    """What is used of ``calibration`` at the wall time ``now`` (None: it has no age); ``again`` measures anew.

    A file that is too old, or of other stages, is not used: what it raised makes a bad build's way longer, for a reason
    that may be gone, and the default floor holds without it.
    """
    age = max(now - calibration.at, 0.0) if now is not None else 0.0
    if age > max_age:
        why = f"measured {_days(age)} ago, older than max_age of {_days(max_age)}"
        return Used(f"not used: {why}; type `{again}`", tuple(gates), stale=True)
    if calibration.stages != stages:
        return Used(f"not used: stages, holds or poll have changed since; type `{again}`", tuple(gates), stale=True)
    known = [(gate, calibration.of_gate(gate)) for gate in gates]
    changed = [gate.name for gate, found in known if found is None]
    lifted = tuple(
        replace(raised(gate, found.phi, found.replicas), calibrated=found.enough) if found else gate
        for gate, found in known
    )
    ups = [up for (old, _), new in zip(known, lifted, strict=True) if (up := _up(old, new))]
    parts = [
        f"measured {_days(age)} ago on {calibration.of}" if now is not None else f"measured on {calibration.of}",
        "; ".join(ups) or "the levels of the file are enough",
        f"a good build is rolled back {calibration.after}" + (", a bad one later than without" if ups else ""),
    ]
    if changed:
        parts.append(f"not measured as it stands: {', '.join(changed)}; type `{again}`")
    return Used("; ".join(parts), lifted, stale=bool(changed))


def _up(old: Gate, new: Gate) -> str:
    said = []
    if new.levels.replicas > old.levels.replicas:
        said.append(f"replicas must show {new.levels.replicas:g}, not {old.levels.replicas:g}")
    if new.design_effect > old.design_effect:
        times = new.design_effect / old.design_effect
        said.append(f"evidence is divided by {new.design_effect:g} (up to {times:.3g} times the requests)")
    return f"{new.name}: {' and '.join(said)}" if said else ""


def _days(seconds: float) -> str:
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.0f} h" if seconds < 2 * _DAY else f"{seconds / _DAY:.0f} days"


def read(path: Path, target: str) -> Calibration | None:
    """What ``path`` has for ``target``; None where it has nothing.

    Raises:
        UsageError: it is no such file, or of another version.

    """
    whole = _parsed(path)
    if target not in whole:
        return None
    try:
        return _calibration(whole[target])
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise UsageError(f"{path}: {target} is not whole ({error!r}); delete the file and calibrate again") from error


def writable(path: Path) -> None:
    """See that :func:`write` could put something there, before hours are played for it.

    Raises:
        UsageError: what is there is no such file, or nothing can be written there.

    """
    if not path.parent.is_dir():
        raise UsageError(f"{path}: there is no folder {path.parent}; make it, or name another file")
    if path.exists():
        _parsed(path)
    if not os.access(path.parent, os.W_OK):
        raise UsageError(f"{path}: cannot be written, its folder is read-only; make it writable, or add `--dry-run`")


def write(path: Path, target: str, calibration: Calibration) -> None:
    """Put ``calibration`` for ``target`` into ``path``; other targets keep theirs.

    Raises:
        UsageError: what is there is no such file; OSError: it cannot be written.

    """
    whole = _parsed(path) if path.exists() else {}
    told = {"version": VERSION, "targets": {**whole, target: asdict(calibration)}}
    aside = path.with_name(path.name + ".new")
    aside.write_text(json.dumps(told, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    aside.replace(path)


def _parsed(path: Path) -> Mapping[str, Any]:
    try:
        whole = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror}; move it away and calibrate again") from error
    except (ValueError, RecursionError) as error:
        line = getattr(error, "lineno", 1)
        raise UsageError(f"{path}:{line}: found no JSON; delete the file and calibrate again") from error
    version = whole.get("version") if isinstance(whole, dict) else None
    if version != VERSION or not isinstance(whole.get("targets"), dict):
        found = "no version" if version is None else "no targets" if version == VERSION else f"version {version!r}"
        raise UsageError(
            f"{path}: found {found}, expected a calibration of version {VERSION}; delete the file and calibrate again"
        )
    return dict(whole["targets"])


def _calibration(data: Mapping[str, Any]) -> Calibration:
    gates = tuple(
        Calibrated(
            str(one["gate"]), str(one["plan"]), _level(one["phi"]), _level(one["replicas"]),
            _share(one["before"]), _share(one["after"]), bool(one["enough"]), one.get("floor"), one.get("smallest"),
        )
        for one in data["gates"]
    )  # fmt: skip
    return Calibration(
        float(data["at"]), str(data["of"]), str(data["stages"]), _share(data["before"]), _share(data["after"]), gates,
        tuple(map(str, data.get("doubts", ()))),
    )  # fmt: skip


def _share(data: Mapping[str, Any]) -> Share:
    return Share(int(data["stopped"]), int(data["plays"]), float(data["low"]), float(data["high"]))


def _level(value: Any) -> float:
    number = float(value)
    if not isfinite(number) or number < 1:
        raise ValueError(f"{value!r} where 1 or more is expected")
    return number
