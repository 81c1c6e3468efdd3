"""Whatever is killed, and whenever: the stable build has all the traffic, and nothing is left behind."""

from __future__ import annotations

import os
import signal

import pytest

from tests.local.killed import (
    PROMOTED,
    ROLLED_BACK,
    SOME,
    Death,
    all_of,
    deadly_site,
    wrong,
)
from tests.local.main_job import (
    ENDLESS,
    HASTY,
    address_in,
    builds_that_answer,
    envoy_of,
    serving,
    watched,
)

KEPT = ("--set", "keep=true")


@pytest.fixture
def site(tmp_path):
    """The example in a folder of its own."""
    yield from watched(tmp_path)


@pytest.fixture(scope="module")
def found(request, tmp_path_factory):
    """What came of every death that was asked for, a few at once."""
    params = [getattr(item, "callspec", None) for item in request.session.items]
    deaths = [one.params["death"] for one in params if one and isinstance(one.params.get("death"), Death)]
    return all_of(deaths, tmp_path_factory.mktemp("killed"))


@pytest.mark.parametrize("death", SOME, ids=str)
def test_a_run_killed_at_any_effect_leaves_the_stable_build_with_all_traffic(death, found):
    """Its guard restores, or `recover`, or the next run; users who ask all the while lose nothing."""
    seen = found[death].result()

    assert not wrong(death, seen), seen


@pytest.mark.parametrize(("build", "effects"), [("v2", PROMOTED), ("v2-errors", ROLLED_BACK)])
def test_the_list_of_effects_is_whole(build, effects, tmp_path):
    """An effect that is added to a rollout has to be killed at, too."""
    site = deadly_site(tmp_path, "")
    settings = {**HASTY, "keep": "true"} if build == "v2" else {**HASTY, **ENDLESS}
    run = site.run(build=build, **settings)
    if build == "v2":
        site.canary("down", *KEPT)

    assert tuple((site.folder / "rollouts/inference_gateway/effects.txt").read_text().split()) == effects, run.out
    assert site.alive() == []


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP], ids=["killed", "stopped"])
@pytest.mark.parametrize("victim", ["envoy", "stable", "canary"])
def test_what_else_is_killed_or_stopped_is_put_right_by_the_run(site, victim, how):
    """The run ends rolled back, and the stable build answers everyone, in a new process where the old one died."""
    process = site.start(**{**HASTY, **ENDLESS, "keep": "true", "drain_timeout": "2s", "load.timeout": "10"})
    said = site.wait_for("ramp[50%]", process)
    pid = envoy_of(site) if victim == "envoy" else serving(site)["v1" if victim == "stable" else "v2"]
    os.kill(pid, how)
    run = site.ended(process)
    builds, answers = serving(site), builds_that_answer(address_in(said))
    assert site.canary("down", *KEPT)[0] == 0

    assert run.exit == 1, run.out
    assert run.report["end"] == "rolled back"
    assert "Traceback" not in run.out
    assert list(builds) == ["v1"]
    assert answers == {"v1"}
    assert (builds["v1"] != pid) or victim == "canary"
    assert site.alive() == []
