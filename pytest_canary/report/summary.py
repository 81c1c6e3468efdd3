"""What a person on call has to know, as labelled lines; text and Markdown both show these."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pytest_canary.outcome import End, Outcome, Row
from pytest_canary.ports import NOTHING, Seen
from pytest_canary.report.commands import next_steps
from pytest_canary.report.words import count, duration, several, shortened
from pytest_canary.verdict import By, Verdict

Line = tuple[str, str]
"""A label and what it says."""

LATE_SECONDS = 0.005
"""Synthetic requests that leave later than this make a run's latencies worthless."""
SKIPPED = 0.1
"""More probes than this that could not be sent, as a share of the others, are worth a word."""
BAKE = "bake::"
"""How the rows of the gates begin that were watched once more after the last stage."""
SHOWN = 4
"""So many gates or troubles are told; the report file has them all."""


def last_line(outcome: Outcome) -> str:
    """How the rollout ended, where, and with which build, in one line."""
    build = str(outcome.canary) if outcome.canary else outcome.image or "no build"
    line = f"{outcome.end} {outcome.place}: {build}"
    if outcome.end is End.PROMOTED:
        return f"{line} has all the traffic" + (f", instead of {outcome.previous}" if outcome.previous else "")
    if outcome.end is End.UNCHANGED:
        return f"{line}; nothing was deployed"
    if outcome.end is End.NOT_RESTORED:
        return f"NOT RESTORED {outcome.place}: a human must look now; {build} may still have traffic"
    back = f"; {outcome.stable} has all the traffic" if outcome.stable else ""
    if outcome.end is End.NOT_STARTED:
        return f"{line} met no user{back}"
    stage = f" at {outcome.cut.stage}" if outcome.cut else ""
    return f"{outcome.end} {outcome.place}{stage}: {build}, {_blame(outcome)}{back}"


def _blame(outcome: Outcome) -> str:
    names = list(dict.fromkeys(verdict.gate for verdict in outcome.failed))
    return f"failed {', '.join(names)}" if names else shortened(outcome.why.partition(";")[0])


def lines(outcome: Outcome, files: Mapping[str, str] = NOTHING) -> list[Line]:
    """Everything below the first line, in the order in which it is asked for at night."""
    said = [("simulated", _made_up(outcome))] if outcome.simulated else []
    said += [("trouble", text) for text in _some(outcome.trouble)]
    said += _why(outcome)
    said += _stages(outcome)
    said += [] if outcome.simulated else _pins(outcome)
    said += _users(outcome)
    said += [("probes", text) for text in _probes(outcome)]
    said += _way_back(outcome)
    said += [("steps", ", ".join(map(_step, _once(outcome.rows))))] if outcome.rows else []
    said += [("override", ", ".join(outcome.overrides))] if outcome.overrides else []
    said += [("calibration", outcome.calibration)] if outcome.calibration else []
    said += [("warning", text) for text in _some(outcome.warnings)]
    said += [("runbook", outcome.runbook)] if outcome.runbook else []
    said += [("report", files["report"])] if files.get("report") else []
    metrics = files.get("metrics") or outcome.recording
    said += [("metrics", metrics)] if metrics else []
    return said + [("next", step) for step in next_steps(outcome)]


def _made_up(outcome: Outcome) -> str:
    took = duration(outcome.ended_at - outcome.began_at)
    return f"{outcome.simulated}; {took} of virtual time, and nothing was deployed"


def _some(texts: tuple[str, ...]) -> list[str]:
    more = len(texts) - SHOWN
    return [*texts[:SHOWN], *([f"and {more} more, in the report"] if more > 0 else [])]


def _why(outcome: Outcome) -> list[Line]:
    failed = [verdict.sentence or verdict.gate for verdict in outcome.failed]
    alerts = [v for v in outcome.verdicts if v.alert and v.status == "fail"]
    told = outcome.end in (End.PROMOTED, End.UNCHANGED) or any(outcome.why.startswith(says) for says in failed)
    why = [] if told or not outcome.why else [("why", outcome.why)]
    gates = [("gate", sentence) for sentence in _some(tuple(failed))]
    return [*why, *gates, *(("alert", text) for text in _some(tuple(v.sentence or v.gate for v in alerts)))]


def stage_label(outcome: Outcome, index: int) -> str:
    """The share of the stage with this index, as its ramp row names it."""
    ramps = [row.name[5:-1] for row in outcome.rows if row.name.startswith("ramp[")]
    return ramps[index] if index < len(ramps) else f"no. {index + 1}"


def _stages(outcome: Outcome) -> list[Line]:
    held = {index: [v for v in outcome.verdicts if v.stage == index] for index in {v.stage for v in outcome.verdicts}}
    passed = {i: v for i, v in sorted(held.items()) if all(each.status == "pass" or each.alert for each in v)}
    if not passed:
        return []
    if outcome.end is not End.PROMOTED:
        labels = [stage_label(outcome, index) for index in passed]
        before = [label for label in labels if outcome.cut is None or label != outcome.cut.stage]
        return [("passed", ", ".join(before))] if before else []
    return [(f"stage {stage_label(outcome, index)}", _grounds(verdicts)) for index, verdicts in passed.items()]


def _grounds(verdicts: list[Verdict]) -> str:
    of_users = [verdict for verdict in verdicts if verdict.of != "probes"]
    counted = [verdict for verdict in of_users if verdict.of == "requests"] or of_users or verdicts  # not tokens
    requests = max((verdict.canary.requests for verdict in counted), default=0.0)
    noun = "request" if of_users or not verdicts else "probe"
    side = f"{verdicts[0].side} {noun}" if verdicts else noun
    required = [verdict for verdict in verdicts if not verdict.alert]
    by = {verdict.by: [each for each in required if each.by == verdict.by] for verdict in required}
    said = [text for group in by.values() for text in _together(group)]
    return "; ".join([several(requests, side), *said])


def _together(verdicts: Sequence[Verdict]) -> list[str]:
    """Each gate, or how many they are: the report has every one."""
    if len(verdicts) <= SHOWN:
        return [ground(verdict) for verdict in verdicts]
    by = verdicts[0].by or "no rule"
    return [f"{len(verdicts)} gates {by}" if by is By.NOT_COMPARED else f"{len(verdicts)} gates by {by}"]


def ground(verdict: Verdict) -> str:
    """On what ground a gate passed, and how far proof still is."""
    if verdict.by is By.NOT_COMPARED:
        return f"{verdict.gate} {verdict.by}"
    if verdict.by is not By.SOAK or verdict.needed is None:
        return f"{verdict.gate} by {verdict.by or 'no rule'}"
    return f"{verdict.gate} by {verdict.by} (proof would take about {count(verdict.needed)} more {verdict.of})"


def _pins(outcome: Outcome) -> list[Line]:
    """What everything that was involved is pinned by; after a promotion the canary is what serves now."""
    named = {"stable": "pin now", "canary": "pin canary", "previous": "pin before"}
    told: dict[str, str] = {}
    for name, pinned in outcome.pins.items():
        told.setdefault(str(pinned), named[name])
    return [(label, pinned) for pinned, label in told.items()]


def _users(outcome: Outcome) -> list[Line]:
    seen, said = outcome.seen, list[Line]()
    if outcome.exposed or outcome.cut or outcome.end is End.PROMOTED:
        sent = (
            f"{count(outcome.exposed)} of {several(seen.sent, 'request')}"
            if seen
            else several(outcome.exposed, "request")
        )
        bad = seen.bad.get(outcome.canary.pin, 0) if seen and outcome.canary else 0
        badly = f", {count(bad)} of them badly" if bad else ""
        said.append(("exposed", f"{sent} of users answered by the canary{badly}"))
    if seen is not None:
        said.append(("dropped", _dropped(seen)))
        if wrong := _invalid(seen):
            mend = "free the machine or lower `load.rate`, run again"
            said.append(("invalid", f"{wrong}: this run's latencies are not to be trusted; {mend}"))
    return said


def _probes(outcome: Outcome) -> list[str]:
    """What the probes of each build saw, no user among them; nothing where none were sent."""
    said = []
    for role, probed in sorted(outcome.probed.items(), reverse=True):
        kinds = [f"{count(number)} {fault}" for fault, number in probed.faults.items() if number]
        text = f"{role}: {several(probed.answered, 'probe')} ended, " + (", ".join(kinds) or "none badly")
        text += f", {count(probed.refused)} refused" if probed.refused else ""
        text += f"; first fault: {probed.first_fault}" if probed.first_fault else ""
        if probed.skipped > probed.answered * SKIPPED:
            text += f"; {count(probed.skipped)} more were not sent, since it had all in flight: see `probe.concurrency`"
        said.append(text)
    return said


def _invalid(seen: Seen) -> str:
    """What makes the figures those of this machine and not of the builds; empty when nothing does."""
    if seen.unsent:
        return (
            f"{several(seen.unsent, 'request')} of {count(seen.sent + seen.unsent)} could not leave, too many under way"
        )
    lag = f"{1000 * seen.lag_p99_seconds:,.1f} ms"
    late = seen.lag_p99_seconds > LATE_SECONDS
    return f"the load left {lag} late (p99), more than {duration(LATE_SECONDS)}" if late else ""


def _dropped(seen: Seen) -> str:
    why = ", ".join(f"{count(number)} {reason}" for reason, number in sorted(seen.dropped_why.items()))
    return f"{several(seen.dropped, 'request')} of users without a whole answer" + (f" ({why})" if why else "")


def _way_back(outcome: Outcome) -> list[Line]:
    said = list[Line]()
    if outcome.return_seconds is not None and outcome.end is End.PROMOTED:
        back = f"the stable build, started anew, had all the traffic {duration(outcome.return_seconds)}"
        said.append(("return", f"{back} after the last gate had passed"))
    if outcome.cut is not None:
        after = outcome.cut.after_seconds
        since = f"{duration(after)} after the first bad answer" if after is not None else "no answer of it had failed"
        said.append(("weight 0", f"{since}; the shift itself took {duration(outcome.cut.seconds)}"))
    if outcome.drained is not None:
        drained = outcome.drained
        cut = several(drained.cut, "request") + " had to be cut" if drained.cut else "none had to be cut"
        unload = f"; unload {duration(outcome.unload_seconds)}" if outcome.unload_seconds is not None else ""
        was = "was" if drained.in_flight == 1 else "were"
        flying = f"{several(drained.in_flight, 'request')} {was} in flight"
        if drained.unknown:
            flying, cut = "the router could not say what was in flight", "whatever was had to be cut"
        said.append(("drain", f"{duration(drained.seconds)}, {flying}, {cut}{unload}"))
    return said


def _once(rows: Sequence[Row]) -> list[Row]:
    """The bake is one step with one row for each gate, and took its time once."""
    baked = [row for row in rows if row.name.startswith(BAKE)]
    whole = Row("bake", all(row.passed for row in baked), "", max((row.seconds for row in baked), default=0.0))
    return [whole if row in baked else row for row in rows if row not in baked[1:]]


def _step(row: Row) -> str:
    return f"{row.name} {duration(row.seconds)}" + ("" if row.passed else " FAILED")
