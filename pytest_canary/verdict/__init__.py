"""The only functions that say go, stop or promote."""

from pytest_canary.gates.values import By, Counted, Status
from pytest_canary.verdict.decision import check_alpha, decide, settled, share_alpha
from pytest_canary.verdict.judge import Judge
from pytest_canary.verdict.promotion import withheld
from pytest_canary.verdict.values import Decision, Step, Totals, Verdict

__all__ = [
    "By",
    "Counted",
    "Decision",
    "Judge",
    "Status",
    "Step",
    "Totals",
    "Verdict",
    "check_alpha",
    "decide",
    "settled",
    "share_alpha",
    "withheld",
]
