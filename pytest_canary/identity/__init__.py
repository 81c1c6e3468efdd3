"""Which model each side serves, by whoever says so; and whether two sides serve the same one."""

from pytest_canary.identity.agreement import differ, settled
from pytest_canary.identity.answers import Heard, answered, of_models
from pytest_canary.identity.values import FROM, NOBODY, Identity, Pinned, Said, Source, Stated, Wanted

__all__ = [
    "FROM",
    "NOBODY",
    "Heard",
    "Identity",
    "Pinned",
    "Said",
    "Source",
    "Stated",
    "Wanted",
    "answered",
    "differ",
    "of_models",
    "settled",
]
