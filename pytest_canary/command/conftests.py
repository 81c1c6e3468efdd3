"""Adapters that a project's own conftest.py brings; pytest is started only where there are some."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pytest_canary.errors import CanaryError, UsageError
from pytest_canary.ports import Shared
from pytest_canary.world import BUILT_IN, Answer

Act = Callable[[Answer], int]
IGNORED = "ignore::pytest.PytestAssertRewriteWarning"


def lenders(root: Path, folder: Path) -> list[Path]:
    """The conftest.py files between ``root`` and ``folder`` that answer a question about adapters."""
    hooks = [f"def pytest_canary_{kind}(" for kind in BUILT_IN]
    found = []
    for base in (folder, *folder.parents):
        path = base / "conftest.py"
        if path.is_file() and any(hook in path.read_text(encoding="utf-8", errors="replace") for hook in hooks):
            found.append(path)
        if base == root:
            break
    return found


def with_conftests(root: Path, folder: Path, plugins: Sequence[str], act: Act) -> int:
    """Load pytest's configuration for ``folder`` and do ``act`` with what its conftest files answer.

    ``plugins`` are what pytest takes as ``-p``: names to load, or not to (``no:NAME``).

    Raises:
        UsageError: pytest could not load them; it has said why.

    """
    import pytest

    class Inside:
        code: int | None = None

        @pytest.hookimpl(tryfirst=True)
        def pytest_cmdline_main(self, config: pytest.Config) -> int:
            """Do it instead of collecting anything."""
            self.code = act(_answer(config))
            return 0

    inside = Inside()
    # We are imported already, which pytest says in a warning; where warnings are errors, that is one.
    words = [str(folder), f"--rootdir={root}", "-W", IGNORED]
    words += [word for plugin in ("no:cacheprovider", *plugins) for word in ("-p", plugin)]
    try:
        ended = f"ended with {int(pytest.main(words, plugins=[inside]))}"
    except (CanaryError, UsageError, OSError):
        raise
    except (Exception, SystemExit) as error:
        ended = f"raised {type(error).__name__}: {error}"
    if inside.code is None:
        files = ", ".join(map(str, lenders(root, folder)))
        raise UsageError(f"{files}: pytest {ended} while it loaded this; mend it, and type it again")
    return inside.code


def _answer(config: Any) -> Answer:
    def answer(kind: str, name: str, options: Mapping[str, Any], shared: Shared) -> Any:
        hook = getattr(config.hook, f"pytest_canary_{kind}", None)
        return hook(name=name, options=options, shared=shared) if hook is not None else None

    return answer
