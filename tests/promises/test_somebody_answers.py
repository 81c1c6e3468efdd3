"""Users are sent to whoever answers them, whatever somebody does to the other build meanwhile."""

from __future__ import annotations

import shutil

from tests.promises.test_by_hand import Site

ANEW = "rebuilds: true"


def _weights(run):
    return [act for act in run.acts if act.startswith("weights")]


def test_a_stable_build_that_is_taken_away_in_a_stage_leaves_its_users_to_the_canary(project):
    """Nobody else answers: the traffic stays there until the stable build is back or somebody has looked."""
    run = project.write(platform="gone: {v1: {after: 20}}").run()

    assert run.exit == 70, run.out
    assert _weights(run)[-1] == "weights baseline=0 canary=1"
    assert not run.did("remove v2")
    assert "nobody answers at gateway:v1" in run.out
    assert "no copy of v1 is left" in run.out
    assert "gateway:v2" in run.out
    assert "pytest-canary recover" in run.out


def test_a_stable_build_that_comes_back_gets_its_users_back(project):
    """The second attempt puts right what could be put right by then."""
    run = project.write(platform="gone: {v1: {after: 20, for: 5}}").run()

    assert run.exit == 1, run.out
    assert _weights(run)[-1] == "weights baseline=1 canary=0"
    assert run.did("remove v2")


def test_a_bad_canary_keeps_its_users_only_where_nobody_else_answers(project):
    """It fails its gate after the stable build was taken away: some answers are better than none."""
    late = "turns_bad: {v2: {after: 25, error_rate: 0.5}}"
    run = project.write(platform="gone: {v1: {after: 25}}", metrics=late).run()

    assert run.exit == 70, run.out
    assert _weights(run)[-1] == "weights baseline=0 canary=1"


def test_a_canary_that_is_taken_away_in_a_stage_is_named_and_rolled_back(project):
    """No statistics are needed to see that nobody is there."""
    run = project.write(platform="gone: {v2: {after: 20}}").run()

    assert run.exit == 1, run.out
    assert "no copy of v2 is left" in run.out
    assert _weights(run)[-1] == "weights baseline=1 canary=0"
    assert run.did("remove v2")


def test_a_proven_canary_that_is_taken_away_while_the_traffic_returns_leaves_it_to_the_new_copies(project):
    """They are of the same build, and all that users have; then the old build is put back beneath them."""
    run = project.write(platform=f"{ANEW}, gone: {{v2: {{after: 80}}}}").run()

    assert run.exit == 1, run.out
    assert "ramp[stable 25%]" in run.rows
    assert "no copy of v2 is left" in run.out
    lost = run.acts.index("promote v1")
    assert [act for act in run.acts[:lost] if act.startswith("weights")][-1] == "weights baseline=1 canary=0"
    assert _weights(run)[-1] == "weights baseline=1 canary=0"


def test_new_copies_that_are_taken_away_while_the_traffic_returns_give_it_back_to_the_canary(project):
    """The proven build has the traffic until the old one answers again."""
    run = project.write(platform=f"{ANEW}, gone: {{v2@stable: {{after: 80}}}}").run()

    assert run.exit == 1, run.out
    back = run.acts.index("promote v1")
    assert [act for act in run.acts[:back] if act.startswith("weights")][-1] == "weights baseline=0 canary=1"
    assert _weights(run)[-1] == "weights baseline=1 canary=0"


def test_a_canary_goes_only_once_the_stable_build_answers(project):
    """Between the cut and the end of the canary the stable build is taken away: the canary serves instead."""
    run = project.write(
        platform="gone: {v1: {after: 29, for: 75}}",
        router="fail: {in_flight: lost}",
        metrics="turns_bad: {v2: {after: 25, error_rate: 0.5}}",
    ).run()

    assert run.exit == 1, run.out
    assert "put right at the second attempt" in run.out
    assert _weights(run)[-3:] == [
        "weights baseline=1 canary=0",
        "weights baseline=0 canary=1",
        "weights baseline=1 canary=0",
    ]
    assert run.acts.index("remove v2") > max(n for n, act in enumerate(run.acts) if act.startswith("weights"))


def test_what_runs_without_facts_is_put_right_before_the_next_rollout(project):
    """Somebody deleted them: what a half-done rollout left would be taken for part of the world."""
    site = Site(project.pytester.path).write(platform="lasting: true")
    site.begun("gateway:v9").kill()
    shutil.rmtree(site.state)
    run = project.run()

    assert run.exit == 0, run.out
    assert "that nobody knows of had not ended: 100 % on gateway:v1" in run.out
    assert run.acts.index("remove v9") < run.acts.index("deploy v2")
