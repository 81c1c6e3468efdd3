"""A rollout is a test suite: pytest ships the build and puts the old one back when a gate fails.

The names that users and writers of adapters may rely on; everything else may move.  Each is imported when it is first
asked for, because this package is loaded in every pytest run of its environment.
"""

from importlib import import_module
from typing import TYPE_CHECKING

__version__ = "0.1.0"

if TYPE_CHECKING:
    from pytest_canary.adapters.clock import SystemClock as SystemClock
    from pytest_canary.adapters.clock import VirtualClock as VirtualClock
    from pytest_canary.adapters.memory import MemoryLedger as MemoryLedger
    from pytest_canary.adapters.memory import MemoryMetrics as MemoryMetrics
    from pytest_canary.adapters.memory import MemoryPlatform as MemoryPlatform
    from pytest_canary.adapters.memory import MemoryProbe as MemoryProbe
    from pytest_canary.adapters.memory import MemoryRouter as MemoryRouter
    from pytest_canary.adapters.memory import MemoryUsers as MemoryUsers
    from pytest_canary.adapters.memory import MemoryWorld as MemoryWorld
    from pytest_canary.errors import AdapterError as AdapterError
    from pytest_canary.errors import BaselineFailed as BaselineFailed
    from pytest_canary.errors import Busy as Busy
    from pytest_canary.errors import CanaryError as CanaryError
    from pytest_canary.errors import Exit as Exit
    from pytest_canary.errors import GateFailed as GateFailed
    from pytest_canary.errors import ImageNotFound as ImageNotFound
    from pytest_canary.errors import LedgerError as LedgerError
    from pytest_canary.errors import Lost as Lost
    from pytest_canary.errors import Missing as Missing
    from pytest_canary.errors import ModelMismatch as ModelMismatch
    from pytest_canary.errors import NoData as NoData
    from pytest_canary.errors import NotRestored as NotRestored
    from pytest_canary.errors import NotStarted as NotStarted
    from pytest_canary.errors import PlanError as PlanError
    from pytest_canary.errors import RecordingEnds as RecordingEnds
    from pytest_canary.errors import Silent as Silent
    from pytest_canary.errors import SmokeFailed as SmokeFailed
    from pytest_canary.errors import SourceUnavailable as SourceUnavailable
    from pytest_canary.errors import SpecError as SpecError
    from pytest_canary.errors import SplitNotSeen as SplitNotSeen
    from pytest_canary.errors import UsageError as UsageError
    from pytest_canary.identity import Pinned as Pinned
    from pytest_canary.outcome import Cut as Cut
    from pytest_canary.outcome import End as End
    from pytest_canary.outcome import Outcome as Outcome
    from pytest_canary.outcome import Row as Row
    from pytest_canary.plan import Plan as Plan
    from pytest_canary.plan import Stage as Stage
    from pytest_canary.ports import Adapter as Adapter
    from pytest_canary.ports import Answer as Answer
    from pytest_canary.ports import Asked as Asked
    from pytest_canary.ports import Change as Change
    from pytest_canary.ports import Clock as Clock
    from pytest_canary.ports import Explains as Explains
    from pytest_canary.ports import Fact as Fact
    from pytest_canary.ports import Fault as Fault
    from pytest_canary.ports import Foreseen as Foreseen
    from pytest_canary.ports import Foresees as Foresees
    from pytest_canary.ports import Histogram as Histogram
    from pytest_canary.ports import Ledger as Ledger
    from pytest_canary.ports import MetricSource as MetricSource
    from pytest_canary.ports import NamesModels as NamesModels
    from pytest_canary.ports import Platform as Platform
    from pytest_canary.ports import Probe as Probe
    from pytest_canary.ports import Probed as Probed
    from pytest_canary.ports import Probes as Probes
    from pytest_canary.ports import Prompt as Prompt
    from pytest_canary.ports import Readiness as Readiness
    from pytest_canary.ports import Remembers as Remembers
    from pytest_canary.ports import Replicas as Replicas
    from pytest_canary.ports import Revision as Revision
    from pytest_canary.ports import Role as Role
    from pytest_canary.ports import Router as Router
    from pytest_canary.ports import Sample as Sample
    from pytest_canary.ports import Seen as Seen
    from pytest_canary.ports import Shared as Shared
    from pytest_canary.ports import Users as Users
    from pytest_canary.ports import Weights as Weights
    from pytest_canary.ports import World as World
    from pytest_canary.session.views import BaselineView as BaselineView
    from pytest_canary.session.views import CanaryView as CanaryView
    from pytest_canary.session.views import RolloutView as RolloutView
    from pytest_canary.session.views import Side as Side
    from pytest_canary.session.views import StageView as StageView
    from pytest_canary.steps.rollback import Drained as Drained
    from pytest_canary.steps.warm import Warmed as Warmed
    from pytest_canary.verdict import By as By
    from pytest_canary.verdict import Counted as Counted
    from pytest_canary.verdict import Status as Status
    from pytest_canary.verdict import Verdict as Verdict
else:
    _NAMES = {
        "ports": (
            "Adapter Answer Asked Change Clock Explains Fact Fault Foreseen Foresees Histogram Ledger MetricSource "
            "NamesModels Platform Probe Probed Probes Prompt Readiness Remembers Replicas Revision Role Router Sample "
            "Seen Shared Users Weights World"
        ),
        "errors": (
            "AdapterError BaselineFailed Busy CanaryError Exit GateFailed ImageNotFound LedgerError "
            "Lost Missing ModelMismatch NoData NotRestored NotStarted PlanError RecordingEnds Silent SmokeFailed "
            "SourceUnavailable SpecError SplitNotSeen UsageError"
        ),
        "identity": "Pinned",
        "outcome": "Cut End Outcome Row",
        "steps.rollback": "Drained",
        "steps.warm": "Warmed",
        "verdict": "By Counted Status Verdict",
        "plan": "Plan Stage",
        "session.views": "BaselineView CanaryView RolloutView Side StageView",
        "adapters.clock": "SystemClock VirtualClock",
        "adapters.memory": (
            "MemoryLedger MemoryMetrics MemoryPlatform MemoryProbe MemoryRouter MemoryUsers MemoryWorld"
        ),
    }
    """Module -> what it offers."""
    _HOMES = {name: f"{__name__}.{module}" for module, names in _NAMES.items() for name in names.split()}
    __all__ = ["__version__", *sorted(_HOMES)]

    # Hidden from type checkers, who would take any name for one of ours.
    def __getattr__(name: str) -> object:
        if name not in _HOMES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        # Not kept: runs of pytest inside pytest import modules anew, and must not meet the classes of the last run.
        return getattr(import_module(_HOMES[name]), name)

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__})
