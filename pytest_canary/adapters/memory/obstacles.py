"""Things that go wrong on request."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from pytest_canary.errors import AdapterError
from pytest_canary.ports import Clock

PlatformAct = Literal[
    "start",
    "stop",
    "stable",
    "resolve",
    "deploy",
    "scale",
    "grow",
    "ready",
    "hurt",
    "address",
    "model",
    "promote",
    "remove",
]
RouterAct = Literal["start", "stop", "address", "attach", "detach", "weights", "set_weights", "in_flight", "mirror"]


def _with_words(fail: Any) -> Any:
    """A list names what fails; a mapping says with which words."""
    if isinstance(fail, list | tuple):
        return {act: f"{act} fails, as it was asked to" for act in fail}
    return fail


PlatformFails = Annotated[dict[PlatformAct, str], BeforeValidator(_with_words)]
RouterFails = Annotated[dict[RouterAct, str], BeforeValidator(_with_words)]
Slow = dict[PlatformAct, Annotated[float, Field(ge=0)]]


class Obstacles:
    """What an act meets before it is done."""

    def __init__(self, who: str, clock: Clock, fail: Mapping[Any, str], slow: Mapping[Any, float]) -> None:
        self._who, self._clock, self._fail, self._slow = who, clock, fail, slow

    def meet(self, act: str) -> None:
        """Let time pass, and raise AdapterError, where that was asked for ``act``."""
        if act in self._slow:
            self._clock.sleep(self._slow[act])
        if act in self._fail:
            raise AdapterError(f"{self._who}: {self._fail[act]}")
