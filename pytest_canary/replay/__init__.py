"""Today's gates over what was recorded: what happened, what would happen now, and why."""

from pytest_canary.replay.marked import marked
from pytest_canary.replay.played import Now, Played
from pytest_canary.replay.player import Player, Tests, play

__all__ = ["Now", "Played", "Player", "Tests", "marked", "play"]
