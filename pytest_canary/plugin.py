"""The pytest entry point: options and registration; only delegates.

It is loaded in every pytest run of its environment, so nothing heavy is imported here: an unrelated project pays for
this module and for one look for ``rollout.yaml`` per folder.
"""

from __future__ import annotations

from argparse import ArgumentError
from collections.abc import Generator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pytest_canary.session.conductor import Conductor

CONDUCTOR = pytest.StashKey["Conductor"]()
FOLDERS = pytest.StashKey[dict[Path, Path | None]]()


def pytest_addhooks(pluginmanager: pytest.PytestPluginManager) -> None:
    """Let conftests and installed packages answer our questions."""
    from pytest_canary import hookspecs

    pluginmanager.add_hookspecs(hookspecs)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options that are ours by name; ``--image`` comes last, and only where it is free."""
    group = parser.getgroup("canary", "progressive delivery (pytest-canary)")
    group.addoption(
        "--canary-image", dest="canary_image", metavar="IMAGE", help="what --image says, where that is taken"
    )
    group.addoption(
        "--canary-target", dest="canary_target", metavar="NAME", help="the target of rollout.yaml to run in"
    )
    group.addoption(
        "--canary-set",
        dest="canary_set",
        metavar="KEY=VALUE",
        action="append",
        default=[],
        help="override anything in rollout.yaml, such as gates.error_rate.ratio=2 or stages=5,100; may be repeated",
    )
    group.addoption(
        "--canary-simulate",
        dest="canary_simulate",
        metavar="SEED",
        nargs="?",
        const="",
        help="roll out a made-up build under made-up traffic, in virtual time; needs no image and no platform",
    )
    group.addoption(
        "--canary-inject",
        dest="canary_inject",
        metavar="WHAT",
        action="append",
        default=[],
        help="what is wrong with the simulated build: 'error_rate x3', 'latency_p99 x1.5 from 25%%', 'cost +25%%', "
        "'quality -0.05', 'crash at 50%%', 'cold 200'; may be repeated",
    )
    group.addoption("--canary-state", dest="canary_state", metavar="DIR", help="where ledgers and recordings are kept")
    group.addoption(
        "--canary-report", dest="canary_report", metavar="FILE", help="write the report here (.md or .json)"
    )
    group.addoption(
        "--canary-replay",
        dest="canary_replay",
        metavar="FILE",
        action="append",
        default=[],
        help="run today's gates over a recording, or a folder of them, and ship nothing; may be repeated",
    )
    group.addoption(
        "--canary-replay-expect",
        dest="canary_replay_expect",
        choices=["same", "promoted", "rolled-back"],
        help="fail unless every replay ends so; same: as the run that was recorded, at the same poll",
    )
    group.addoption(
        "--canary-again",
        dest="canary_again",
        action="store_true",
        help="roll out a build that is already stable, as an A/A test",
    )


@pytest.hookimpl(wrapper=True)
def pytest_load_initial_conftests(parser: pytest.Parser, args: list[str]) -> Generator[None]:
    """Add ``--image`` once every conftest and plugin has had the chance to take the name."""
    # Alone it takes no value: what stands after it is a folder.
    args[:] = ["--canary-simulate=" if word == "--canary-simulate" else word for word in args]
    result = yield
    with suppress(ValueError, ArgumentError):  # somebody's own --image; ours is then --canary-image
        parser.getgroup("canary").addoption(
            "--image", dest="canary_image", metavar="IMAGE", help="the build to roll out, such as inference-gateway:v2"
        )
    return result


def pytest_configure(config: pytest.Config) -> None:
    """Say what our marks mean, and refuse to ship from several processes at once."""
    config.addinivalue_line(
        "markers", "gate(metric, **limits): declare a gate of the rollout, polled while a stage holds"
    )
    config.addinivalue_line("markers", "advisory: report a failed gate, never roll back for it")
    config.stash[FOLDERS] = {}
    if _asks(config):
        from pytest_canary.session import asked

        asked.check(config)


def _asks(config: pytest.Config) -> bool:
    """Whether anything was asked of us; a run of other tests loads no more than this file."""
    options = ("canary_image", "canary_simulate", "canary_inject", "canary_replay")
    return any(config.getoption(name, None) not in (None, []) for name in options)


def folder_of(config: pytest.Config, folder: Path) -> Path | None:
    """Return the nearest folder upward, down from pytest's root, that holds a rollout.yaml of ours."""
    known = config.stash[FOLDERS]
    if folder not in known:
        known[folder] = None  # while looking upward; a loop of links ends here
        if (folder / "rollout.yaml").is_file() and _is_ours(folder / "rollout.yaml"):
            known[folder] = folder
        elif folder not in (config.rootpath, folder.parent):
            known[folder] = folder_of(config, folder.parent)
    return known[folder]


def _is_ours(path: Path) -> bool:
    from pytest_canary.spec import is_ours

    return is_ours(path)


def conductor_of(config: pytest.Config) -> Conductor:
    """Return the one object that runs rollouts in this session, made when the first rollout.yaml is met."""
    if CONDUCTOR not in config.stash:
        from pytest_canary.session import conductor, fixtures

        made = config.stash[CONDUCTOR] = conductor.Conductor(config, partial(folder_of, config))
        config.pluginmanager.register(made, fixtures.CONDUCTOR)
        if config.getoption("canary_replay"):
            from pytest_canary.session import replays

            replays.register(config, made)
    return config.stash[CONDUCTOR]


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> pytest.Collector | None:
    """Collect a rollout.yaml of ours, and give the tests beside it our fixtures."""
    folder = folder_of(parent.config, file_path.parent)
    if folder is None:
        return None
    return conductor_of(parent.config).met(folder, file_path, parent)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Turn a test that asks for our ``stage`` into one item per stage."""
    if "stage" in metafunc.fixturenames and CONDUCTOR in metafunc.config.stash:
        metafunc.config.stash[CONDUCTOR].parametrize(metafunc)


def pytest_collection_finish(session: pytest.Session) -> None:
    """Refuse an image that no rollout can take, before anything runs."""
    if CONDUCTOR in session.config.stash or not _asks(session.config):
        return
    from pytest_canary.session import asked

    homeless = asked.homeless(session.config)
    if session.items or "--canary-replay" in homeless:
        raise pytest.UsageError(homeless)
