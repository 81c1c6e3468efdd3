"""Everything that can go wrong, as one tree.

    CanaryError
    ├── UsageError              bad input; nothing was deployed                              exit 4
    │   ├── SpecError           rollout.yaml says something we cannot run (carries the line)
    │   └── PlanError           spec, image and collected gates do not fit together
    ├── NotStarted              no user met the canary: image, deploy, smoke, warm-up, model   exit 1
    │   ├── ImageNotFound       the image names no build that can be started
    │   ├── SmokeFailed         the canary runs but does not answer as it should
    │   ├── ModelMismatch       the two sides serve different model versions, or do not say
    │   └── BaselineFailed      "normal" could not be read, or the plan cannot work with it
    ├── GateFailed              a gate's verdict is not a pass; the canary is cut             exit 1
    ├── NoData                  a number was asked for that nobody has counted
    │   └── SourceUnavailable   the metric source did not answer
    ├── AdapterError            a platform, router or load generator did not do as told
    │   ├── Silent              whoever manages it cannot be asked now
    │   ├── SplitNotSeen        weights were accepted but the requests do not follow them
    │   └── Missing             something the adapter needs is not installed
    ├── RecordingEnds           a recording that is replayed has no more of what was asked for
    ├── Busy                    another run holds this rollout                                exit 4
    ├── LedgerError             the ledger cannot be read or written
    │   └── Lost                somebody else has taken over this rollout
    └── NotRestored             the stable build may not hold all traffic: a human must look  exit 70

A message says what was found, where, what was expected, and what to type next, in one line.
"""

from enum import IntEnum


class Exit(IntEnum):
    """What the process returns; 6 and 7 are taken by pytest's and pytest-rerunfailures' own options."""

    PROMOTED = 0
    ROLLED_BACK = 1
    INTERRUPTED = 2
    INTERNAL_ERROR = 3
    USAGE = 4
    NOTHING_COLLECTED = 5
    NOT_RESTORED = 70


class CanaryError(Exception):
    """Any error this package raises on purpose; its text is one line for the user."""


class UsageError(CanaryError):
    """The input cannot be run; nothing was deployed."""


class SpecError(UsageError):
    """A rollout.yaml that cannot be read as a rollout; the text starts with ``rollout.yaml:LINE:``."""


class PlanError(UsageError):
    """Spec, image and collected gates do not fit together."""


class NotStarted(CanaryError):
    """The rollout ended before any user met the canary."""


class ImageNotFound(NotStarted):
    """The image names no build that can be started."""


class SmokeFailed(NotStarted):
    """The canary runs but does not answer as it should."""


class ModelMismatch(NotStarted):
    """The two sides report different model versions, or one does not say which it serves."""


class BaselineFailed(NotStarted):
    """What is normal could not be read, or the plan cannot work with it."""


class GateFailed(CanaryError):
    """A gate's verdict is not a pass."""


class NoData(CanaryError):
    """A number was asked for that nobody has counted; never a pass."""


class SourceUnavailable(NoData):
    """The metric source did not answer."""


class AdapterError(CanaryError):
    """A platform, router or load generator did not do as told."""


class Silent(AdapterError):
    """Whoever manages a platform or router cannot be asked now, which says nothing about what it manages."""


class SplitNotSeen(AdapterError):
    """The router accepted the weights, but the requests do not follow them; ``share`` of them did."""

    def __init__(self, said: str, share: float) -> None:
        super().__init__(said)
        self.share = share


class Missing(AdapterError):
    """Something an adapter needs is not there; the text names the command that mends it."""


class RecordingEnds(CanaryError):
    """A recording that is replayed has no more of what was asked for.

    ``cut`` when that is because the run was cut, ``goes_on`` when the run went on to its next stage.
    """

    def __init__(self, why: str, *, cut: bool = False, goes_on: bool = False) -> None:
        super().__init__(why)
        self.cut, self.goes_on = cut, goes_on


class Busy(CanaryError):
    """Another run holds this rollout; ``run`` is its name where it is known."""

    def __init__(self, said: str, *, run: str = "") -> None:
        super().__init__(said)
        self.run = run


class LedgerError(CanaryError):
    """The ledger cannot be read or written."""


class Lost(LedgerError):
    """The rollout is not held any more.

    ``taken`` by somebody else: what we still do must not be done.  Otherwise its ledger was deleted under us.
    """

    def __init__(self, said: str, *, taken: bool = True) -> None:
        super().__init__(said)
        self.taken = taken


class NotRestored(CanaryError):
    """The stable build may not hold all traffic: a human must look."""
