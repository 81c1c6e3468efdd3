"""Where the facts of a rollout are kept."""

from collections.abc import Mapping

from pytest_canary.adapters.ledger.file import FileLedger
from pytest_canary.adapters.ledger.lock import Holder

OFFERS: Mapping[str, type] = {"file": FileLedger}

__all__ = ["OFFERS", "FileLedger", "Holder"]
