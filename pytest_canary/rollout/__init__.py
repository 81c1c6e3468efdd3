"""The state machine: which step may follow which; facts go to the ledger before the act."""

from pytest_canary.rollout.book import Book, Listener
from pytest_canary.rollout.machine import FOLLOWS, Rollout, State
from pytest_canary.rollout.traffic import Traffic

__all__ = ["FOLLOWS", "Book", "Listener", "Rollout", "State", "Traffic"]
