"""Promise 4: a failed gate takes the canary's traffic before anything else runs."""


def test_a_failing_custom_gate_cuts_before_its_teardown(project):
    """Teardowns can be slow; users should not wait for them."""
    run = project.write(
        test_own="""
        import pathlib, pytest
        LOG = pathlib.Path(__file__).parent / "world.log"
        @pytest.fixture
        def slow():
            yield
            assert "weights" in LOG.read_text().splitlines()[-1]
            assert "canary=0" in LOG.read_text().splitlines()[-1] or "canary" not in LOG.read_text().splitlines()[-1]
        def test_own(stage, slow): assert stage.index < 1
        """
    ).run()

    assert run.exit == 1
    assert run.shifts == [0.0, 0.05, 0.25, 0.0]
    assert run.rows["test_own[25%]"] == "failed"


def test_a_hold_ends_the_moment_a_gate_fails(project):
    """`min_requests` and `hold` delay promotion, never rollback."""
    run = project.write(replace={"hold: 10s": "hold: 100s"}).run(image="gateway:v2-errors")

    assert run.exit == 1
    assert run.shifts == [0.0, 0.05, 0.0]
    assert run.rows["error_rate[5%]"] == "failed"
    assert "error_rate[5%]" in run.messages["error_rate[5%]"]


def test_later_stages_are_skipped_with_the_reason(project):
    """One cause is shown once."""
    run = project.write().run(image="gateway:v2-errors")

    assert run.rows["error_rate[25%]"] == "skipped"
    assert "error_rate" in run.messages["error_rate[25%]"]
    assert [name for name, outcome in run.rows.items() if outcome == "failed"] == ["error_rate[5%]"]


def test_custom_gates_do_not_run_after_a_hold_that_failed(project):
    """Their canary has no traffic any more."""
    run = project.write(test_own="def test_own(stage): raise SystemError").run(image="gateway:v2-errors")

    assert run.rows["test_own[5%]"] == "skipped"


def test_the_way_back_is_cut_then_drain_then_remove(project):
    """Weight first; what is in flight may end; then the build goes."""
    run = project.write().run(image="gateway:v2-errors")
    acts = [act.split()[0] for act in run.acts]
    after = acts[len(acts) - acts[::-1].index("weights") - 1 :]

    assert after.index("weights") < after.index("detach") < after.index("remove")


def test_under_the_threshold_rule_gates_speak_only_after_hold_and_min_requests(project):
    """The plain rule of the scripts this replaces."""
    run = project.write(
        replace={
            "hold: 10s": "hold: 40s\ndecide: threshold",
            "error_rate: {ratio: 1.5}": "error_rate: {ratio: 1.5, catastrophe: false}",
        },
    ).run(image="gateway:v2-errors")

    assert run.exit == 1
    assert run.rows["error_rate[5%]"] == "failed"


def test_a_gate_asked_from_inside_a_body_is_watched_from_then_on(project):
    """`stage.check` applies the statistics and waits until decided."""
    run = project.write(
        metrics="client_error_rate: {v1: 0.01, v2: 0.3}",
        test_own="def test_own(stage): stage.check('client_error_rate', ratio=2)",
    ).run()

    assert run.exit == 1
    assert run.rows["test_own[5%]"] == "failed"
    assert "client_error_rate" in run.messages["test_own[5%]"]


def test_waiting_in_a_body_ends_when_a_gate_fails(project):
    """`stage.wait` keeps every gate watched."""
    run = project.write(
        metrics="turns_bad: {v2: {after: 60, error_rate: 0.9}}",
        test_own="def test_own(stage): stage.wait(600)",
    ).run()

    assert run.exit == 1
    assert "cut while waiting" in run.messages["test_own[5%]"]


def test_a_good_build_is_baked_and_promoted(project):
    """The bake has a row for every gate, like a stage."""
    run = project.write(replace={"poll: 1s": "poll: 1s\nbake: 30s"}).run()

    assert run.exit == 0
    assert run.rows["bake::error_rate"] == "passed"
    assert [name for name in run.rows if name.startswith("bake::")] == ["bake::error_rate", "bake::latency_p99"]
    assert run.out.count("bake::") == 2
    assert "hold[100%] 10 s, bake 30 s, promote" in " ".join(run.out.split())


def test_a_build_that_turns_bad_after_the_last_stage_is_stopped_by_the_bake(project):
    """The old build is still warm; after promotion it would be too late."""
    run = project.write(
        replace={"poll: 1s": "poll: 1s\nbake: 60s"}, metrics="turns_bad: {v2: {after: 60, error_rate: 0.9}}"
    ).run()

    assert run.exit == 1
    assert run.rows["bake::error_rate"] == "failed"
    assert "rolled back on memory: bake::error_rate failed\n" in run.out
    assert run.shifts[-1] == 0.0
    assert not run.did("promote")
