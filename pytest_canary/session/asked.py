"""What the command line asks for: to ship a build, to simulate one or to replay recordings."""

from __future__ import annotations

import pytest


def options(config: pytest.Config) -> dict[str, str]:
    """Each thing that was asked for, and how it was typed."""
    asked = {}
    if (image := config.getoption("canary_image", None)) is not None:
        asked["image"] = f"--image={image}"
    if config.getoption("canary_simulate", None) is not None:
        asked["simulate"] = "--canary-simulate"
    if config.getoption("canary_replay", None):
        asked["replay"] = "--canary-replay"
    return asked


def check(config: pytest.Config) -> None:
    """Refuse what does not go together, and to ship from several processes at once.

    Raises:
        pytest.UsageError: with what to type instead.

    """
    asked = options(config)
    _go_together(config, asked)
    if not asked:
        return
    if not asked.get("image", "--image=given").removeprefix("--image=").strip():
        raise pytest.UsageError("--image: found nothing, expected a build such as --image=inference-gateway:v2")
    if hasattr(config, "workerinput") or config.getoption("dist", "no") != "no":
        what = "a replay" if "replay" in asked else "a rollout"
        raise pytest.UsageError(f"{what} runs in one process: add `-n 0` (or `-p no:xdist`)")
    if config.getoption("setuponly", False) and not config.getoption("setupplan", False):
        raise pytest.UsageError("--setup-only would deploy and decide nothing: use --setup-plan to see the plan")


def _go_together(config: pytest.Config, asked: dict[str, str]) -> None:
    seed = config.getoption("canary_simulate", None)
    if "replay" in asked and "image" in asked:
        raise pytest.UsageError("--canary-replay ships nothing: drop --image, or replay after the rollout")
    if "replay" in asked and "simulate" in asked:
        raise pytest.UsageError("--canary-replay and --canary-simulate are two runs: leave one of them out")
    if seed is not None and not (seed or "0").isdecimal():
        raise pytest.UsageError(
            f"--canary-simulate: found {seed!r}, expected a seed such as --canary-simulate=7, or none"
        )
    if seed is None and config.getoption("canary_inject", None):
        raise pytest.UsageError("--canary-inject is for simulated builds: add --canary-simulate")


def homeless(config: pytest.Config) -> str:
    """What to say where what was asked for finds no rollout.yaml; empty where nothing was asked for."""
    asked = options(config)
    if not asked:
        return ""
    if "replay" in asked:
        return (
            "--canary-replay: no rollout.yaml was found beside the collected tests, whose gates would be asked; "
            "name its folder, such as `pytest rollouts/ --canary-replay=...`"
        )
    typed = asked.get("simulate") or asked["image"]
    shown = "--image=..." if "image" in asked else typed
    return (
        f"{typed}: no rollout.yaml was found beside the collected tests; "
        f"name its folder, such as `pytest rollouts/ {shown}`"
    )
