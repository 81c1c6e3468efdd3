"""Steps and stages that a rollout.yaml may ask for: a build of its own, a holdback, gates of one stage."""


def test_a_build_step_runs_before_the_image_is_verified(project):
    """Whoever ships from a working copy builds first."""
    run = project.write(replace={"poll: 1s": "poll: 1s\nbuild: [touch, built]"}).run()

    assert run.exit == 0
    assert list(run.rows).index("build") < list(run.rows).index("verify image")
    assert (project.pytester.path / "rollouts/gateway/built").exists()


def test_a_build_step_that_fails_deploys_nothing_and_says_what_it_said(project):
    """There is nothing to ship."""
    run = project.write(replace={"poll: 1s": "poll: 1s\nbuild: [sh, -c, 'echo no compiler >&2; exit 3']"}).run()

    assert run.exit == 1
    assert "exited with 3: no compiler" in run.messages["build"]
    assert not run.did("deploy")


def test_a_build_step_that_cannot_be_run_is_one_line(project):
    """The program may not be installed here."""
    run = project.write(replace={"poll: 1s": "poll: 1s\nbuild: [no-such-program]"}).run()

    assert run.exit == 1
    assert "no-such-program cannot be run" in run.messages["build"]


def test_a_holdback_leaves_somebody_to_compare_with_at_the_last_stage(project):
    """At 100 % there would be nobody."""
    run = project.write(replace={"poll: 1s": "poll: 1s\nholdback: 2"}).run()

    assert run.exit == 0
    assert 0.98 in run.shifts
    assert "last window" not in run.messages["error_rate[100%]"]


def test_without_a_holdback_the_last_stage_says_that_nothing_was_compared(project):
    """A pass that proves little must not look like one that proves much."""
    run = project.write().run()

    assert "on the baseline's last window" in run.messages["error_rate[100%]"]
    assert "error_rate, latency_p99 not compared" in run.out


def test_a_stage_may_have_times_and_gates_of_its_own(project):
    """The first step into traffic is often the most careful one."""
    run = project.write(
        replace={
            "stages: [5, 25, 50, 100]": "stages: [{weight: 5, hold: 20s, min_requests: 50, deadline: 100s, "
            "gates: {client_error_rate: {ratio: 2}}}, 50, 100]"
        }
    ).run()

    assert run.exit == 0
    assert run.rows["client_error_rate[5%]"] == "passed"
    assert "client_error_rate[50%]" not in run.rows
    assert "5% for 20 s" in run.out


def test_a_ladder_has_a_name(project):
    """Nobody types the same six numbers twice."""
    run = project.write(replace={"stages: [5, 25, 50, 100]": "stages: llm"}).run()

    assert run.exit == 0
    assert run.shifts == [0.0, 0.01, 0.1, 0.25, 0.5, 0.75, 1.0, 0.0]


def test_a_change_that_is_no_image_is_a_canary_too(project):
    """Settings break services as often as code does."""
    project.write(replace={"poll: 1s": "poll: 1s\ncanary: {env: {BATCH: '64'}, args: [--fast]}"})
    run = project.run(image="gateway:v1")

    assert run.exit == 0
    assert run.did("promote v1")


def test_smoke_that_fails_stops_before_any_user_meets_the_canary(project):
    """A test that asks for `canary` is a smoke test."""
    run = project.write(test_own="def test_own(canary): assert canary.ask('x').text == 'nothing says this'").run()

    assert run.exit == 1
    assert run.shifts[-1] == 0.0
    assert max(run.shifts) == 0.0
    assert run.did("remove v2")


def test_a_holdback_stays_on_the_baseline_until_the_bake_is_over(project):
    """The bake is when a comparison is worth most; only the hand-over takes the rest."""
    run = project.write(replace={"poll: 1s": "poll: 1s\nholdback: 2\nbake: 30s"}).run()

    assert run.exit == 0
    shares = [act for act in run.acts if act.startswith("weights")]
    assert shares.index("weights baseline=0.02 canary=0.98") == len(shares) - 3
    assert shares[-2:] == ["weights baseline=0 canary=1", "weights baseline=1 canary=0"]
    assert "against baseline" in run.messages["bake::error_rate"]


def test_smoke_says_what_a_stream_was_like_and_what_was_refused(project):
    """A refusal is no error of the build, and somebody should see it before users do."""
    probe = {"probe: {memory: {}}": "probe: {memory: {refuses: {v2: I cannot help with that}}}"}
    project.write(replace={"warmup: 0s": "warmup: {for: 1s, prompts: p.jsonl}", **probe})
    (project.pytester.path / "rollouts/gateway/p.jsonl").write_text('{"prompt": "a", "stream": true}')
    run = project.run()

    assert run.exit == 0
    assert "slowest 20 ms, first token 10 ms, longest gap 2 ms" in run.messages["smoke"]
    assert "1 refused, first: I cannot help with that" in run.messages["smoke"]
