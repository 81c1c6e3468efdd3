"""The report as a page: for a pull request, a chat, a file beside the JUnit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pytest_canary.outcome import Outcome
from pytest_canary.ports import NOTHING
from pytest_canary.report.summary import last_line, lines, stage_label
from pytest_canary.report.words import count, duration, moment
from pytest_canary.verdict import Verdict


def markdown(outcome: Outcome, files: Mapping[str, str] = NOTHING) -> str:
    """The whole report: the lines of the terminal, every verdict of every stage, every step."""
    said = [(f"**{label}**", words) for label, words in lines(outcome, files) if label != "steps"]
    seconds = duration(outcome.ended_at - outcome.began_at)
    when = f"Run `{outcome.run}`, {moment(outcome.began_at)}, {seconds}."
    parts = [f"# {_plain(last_line(outcome))}", when, _table(("", ""), said)]
    if outcome.verdicts:
        head = ("stage", "gate", "verdict", "judged", "compared with", "limit", "what it says")
        parts += ["## Verdicts", _table(head, [_verdict(outcome, verdict) for verdict in outcome.verdicts])]
    if outcome.rows:
        steps = [(row.name, "ok" if row.passed else "FAILED", duration(row.seconds), row.text) for row in outcome.rows]
        parts += ["## Steps", _table(("step", "", "time", "what happened"), steps)]
    return "\n\n".join(parts) + "\n"


def _verdict(outcome: Outcome, verdict: Verdict) -> tuple[str, ...]:
    by = f" by {verdict.by}" if verdict.by else ""
    alert = " (alert)" if verdict.alert else ""
    canary, baseline = (f"{count(s.events)}/{count(s.requests)}" for s in (verdict.canary, verdict.baseline))
    stage = stage_label(outcome, verdict.stage)
    return stage, verdict.gate, f"{verdict.status}{by}{alert}", canary, baseline, verdict.limit, verdict.sentence


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    body = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(_plain(cell) for cell in row) + " |" for row in body)


def _plain(cell: str) -> str:
    """One line that cannot end its cell."""
    return " ".join(cell.replace("|", "\\|").replace("<", "&lt;").split())
