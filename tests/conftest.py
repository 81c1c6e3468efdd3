"""What all tests share: where they are looked for, and that signals reach the programs they start."""

import signal

import pytest

collect_ignore_glob = ["resources/*"]
"""The rollouts in there are shipped by tests, in folders of their own; here they are only files."""

# Under `nohup`, or in the background of a script, SIGHUP and SIGINT are ignored, and so by everything that is started.
for number, usual in ((signal.SIGINT, signal.default_int_handler), (signal.SIGHUP, signal.SIG_DFL)):
    if signal.getsignal(number) is signal.SIG_IGN:
        signal.signal(number, usual)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """What is marked `heavy` is run where `-m` speaks of it, and counted as deselected elsewhere."""
    if "heavy" in config.option.markexpr:
        return
    heavy = [item for item in items if item.get_closest_marker("heavy")]
    if heavy:
        items[:] = [item for item in items if item not in heavy]
        config.hook.pytest_deselected(items=heavy)
