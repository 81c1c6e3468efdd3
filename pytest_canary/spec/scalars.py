"""The scalars of a rollout.yaml: texts as they stand in the file -> numbers, with what to expect in a JSON Schema."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, WithJsonSchema

from pytest_canary.spec import units


def text(read: Callable[[str], Any]) -> BeforeValidator:
    """Let ``read`` have the text; what is no text (a list, a map) is wrong whatever it holds."""

    def validate(value: Any) -> Any:
        if isinstance(value, list | dict):
            try:
                read("\0")
            except ValueError as error:
                raise ValueError(f"{error}, not a list or a map") from None
        return read(value) if isinstance(value, str) else value

    return BeforeValidator(validate)


def schema(kind: str, example: str) -> WithJsonSchema:
    """What an editor is told of a text that stands for a number."""
    return WithJsonSchema({"type": ["string", "number"], "description": kind, "examples": [example]})


Duration = Annotated[float, text(units.duration), schema("seconds, or with units", "1h30m")]
Deadline = Annotated[float | None, text(units.deadline), schema("seconds, with units, or none", "30m")]
Percent = Annotated[float, text(units.percent), schema("per cent of the traffic", "5%")]
Whole = Annotated[int, text(units.whole), schema("a whole number", "500")]
Chance = Annotated[float, text(units.share), schema("a chance above 0 and below 1", "0.01")]
Noise = Annotated[float | Literal["measure"], text(units.noise), schema("per cent, measure or off", "15%")]
Flag = Annotated[bool, text(units.boolean)]
Pace = Literal["hold", "proof"]
DecideName = Literal["evidence", "threshold", "estimate", "window"]
