"""Lines for the person who typed the command."""

from __future__ import annotations

import sys
from contextlib import suppress

from pytest_canary.errors import Exit


def say(line: object) -> None:
    """Print one line; a reader that has gone (``| head``) stops nothing."""
    with suppress(OSError, ValueError):
        print(line, flush=True)


def complain(line: object, code: Exit) -> int:
    """Print what is wrong and return the exit code ``code``."""
    if isinstance(line, OSError):
        line = f"{line.filename or 'this machine'}: {line.strerror or line}"
    with suppress(OSError, ValueError):
        print(f"pytest-canary: {line}", file=sys.stderr, flush=True)
    return int(code)
