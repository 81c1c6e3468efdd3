"""A conftest.py whose adapters are the real ones, and kill their own process (-9) before, during or after an effect.

`KILL="run router.set_weights#2 during;guard platform.remove#1 after"` names who dies, at which effect, and when.
Every effect of a run is written to `effects.txt` beside it, so that a test can hold its list against what happens.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any

EFFECTS = {
    "platform": ("start", "deploy", "promote", "remove", "stop"),
    "router": ("start", "attach", "set_weights", "detach", "stop"),
    "load": ("enter", "leave"),
}
SLOW = ("start", "remove", "stop", "leave", "enter")
WHO = "run" if any(word.startswith("--image") for word in sys.orig_argv) else sys.orig_argv[3]
DEATHS = [words.split() for words in os.environ.get("KILL", "").split(";") if words]
MINE = {what: moment for who, what, moment in DEATHS if who == WHO}
SEEN: dict[str, int] = {}


def die() -> None:
    """No handler, no finally, no atexit."""
    os.kill(os.getpid(), signal.SIGKILL)


class Deadly:
    """Does what ``adapter`` does."""

    def __init__(self, kind: str, adapter: Any) -> None:
        self._kind, self._adapter = kind, adapter

    def __getattr__(self, name: str) -> Any:
        """Return the adapter's own attribute; an effect is counted first."""
        found = getattr(self._adapter, name)
        if name not in EFFECTS[self._kind]:
            return found

        def act(*args: Any, **named: Any) -> Any:
            what = f"{self._kind}.{name}"
            SEEN[what] = SEEN.get(what, 0) + 1
            label = f"{what}#{SEEN[what]}"
            if WHO == "run":
                with Path(__file__).with_name("effects.txt").open("a") as file:
                    file.write(label + "\n")
            moment = MINE.get(label)
            if moment is None:
                return found(*args, **named)
            if moment == "before":
                die()
            if moment == "during":
                threading.Timer(0.05 if name in SLOW else 0.003, die).start()
            found(*args, **named)
            if moment == "during":
                time.sleep(1)
            die()
            return None

        return act


def pytest_canary_platform(name: str, options: Any, shared: Any) -> Any:
    """The local platform, deadly."""
    from pytest_canary.adapters.local import OFFERS

    return _made("platform", OFFERS["platform"], options, shared) if name == "local" else None


def pytest_canary_router(name: str, options: Any, shared: Any) -> Any:
    """The Envoy router, deadly."""
    from pytest_canary.adapters.envoy import OFFERS

    return _made("router", OFFERS["router"], options, shared) if name == "envoy" else None


def pytest_canary_load(name: str, options: Any, shared: Any) -> Any:
    """The synthetic users, deadly."""
    from pytest_canary.adapters.load import OFFERS

    return _made("load", OFFERS["load"], options, shared) if name == "load" else None


def _made(kind: str, cls: Any, options: Any, shared: Any) -> Any:
    return Deadly(kind, cls.connect(cls.Options.model_validate(dict(options)), shared))
