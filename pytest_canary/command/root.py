"""Where pytest would see the root of a project."""

from __future__ import annotations

import configparser
import os
import tomllib
from pathlib import Path
from typing import Any

ALWAYS = ("pytest.toml", ".pytest.toml", "pytest.ini", ".pytest.ini")
"""Files that make their folder the root whatever they hold."""


def root_of(folder: Path) -> Path:
    """The root that ``pytest FOLDER`` has when nobody names one: the nearest configuration, else a setup.py."""
    upward = (folder, *folder.parents)
    for base in upward:
        if any((base / name).is_file() for name in ALWAYS) or _configured(base):
            return base
    for marker in ("pyproject.toml", "setup.py"):
        for base in upward:
            if (base / marker).is_file():
                return base
    common = Path(os.path.commonpath([Path.cwd(), folder]))
    return folder if common == Path(common.anchor) else common


def _configured(base: Path) -> bool:
    pytest_table = _toml(base / "pyproject.toml").get("tool", {}).get("pytest", {})
    return bool(pytest_table) or _has(base / "tox.ini", "pytest") or _has(base / "setup.cfg", "tool:pytest")


def _toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}


def _has(path: Path, section: str) -> bool:
    parser = configparser.ConfigParser(interpolation=None, strict=False)
    try:
        parser.read(path, encoding="utf-8")
    except (configparser.Error, OSError, ValueError):
        return False
    return section in parser
