"""The plan of a place without an image, as its file and its tests say it, and uncalibrated."""

from __future__ import annotations

from dataclasses import replace

from pytest_canary.command.marks import declared_in
from pytest_canary.command.place import Place
from pytest_canary.plan import Mark, Plan, declared_gates, make_plan
from pytest_canary.spec import Spec


def plan_of(place: Place) -> Plan:
    """The plan that a run would have.

    Raises:
        UsageError: there can be none.

    """
    return make_plan(uncalibrated(place.spec), rollout=place.spec.service, image=None, marked=_marks(place.spec))


def uncalibrated(spec: Spec) -> Spec:
    """``spec`` with the levels that stand in the file: what was measured before must not be measured again."""
    entry = spec.document.calibration.model_copy(update={"used": False})
    return replace(spec, document=spec.document.model_copy(update={"calibration": entry}))


def _marks(spec: Spec) -> list[Mark]:
    """Gates that tests declare in plain values, of metrics that the file does not gate itself."""
    known = {gate.name for gate in declared_gates(spec)}
    marks = list[Mark]()
    for one in declared_in(spec.folder):
        if one.options is not None and one.metric not in known:
            known.add(one.metric)
            marks.append(((one.metric,), one.options, one.where))
    return marks
