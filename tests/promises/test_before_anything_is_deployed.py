"""What nobody could judge is an error before a build is started, as soon as the stable build's counters tell."""

SERVED = "before: 5000"
"""The stable build has been serving for a while, as it has in production."""


def test_a_histogram_that_cannot_resolve_a_gate_deploys_nothing(project):
    """With the boundary to add; nobody has to clean up after a gate that was never going to speak."""
    run = project.write(metrics=f"{SERVED}, bounds: [0.05, 0.1]").run()

    assert run.exit == 1
    assert not run.did("deploy v2")
    assert "latency_p99 cannot be judged" in run.messages["deploy"]
    assert "add boundaries above 100 ms" in run.messages["deploy"]


def test_where_too_little_was_counted_the_baseline_says_it_before_the_ramp(project):
    """The canary runs then, and no user has met it."""
    run = project.write(metrics="bounds: [0.05, 0.1]").run()

    assert run.exit == 1
    assert set(run.shifts) == {0.0}
    assert "latency_p99 cannot be judged" in run.messages["baseline"]


def test_a_label_that_the_source_does_not_have_deploys_nothing(project):
    """Like can only be compared with like where somebody counts by it."""
    run = project.write(metrics=SERVED, replace={"{ratio: 1.5}": "{ratio: 1.5, by: [model]}"}).run()

    assert run.exit == 1
    assert not run.did("deploy v2")
    assert "error_rate cannot be judged: it is compared by model" in run.messages["deploy"]


def test_a_gate_that_nobody_counts_deploys_nothing(project):
    """`output_tokens` where the source has no such histogram."""
    gate = "gates:\n  output_tokens: {ratio: 1.2}"
    run = project.write(metrics=SERVED, replace={"gates:": gate}).run()

    assert run.exit == 1
    assert not run.did("deploy v2")
    assert "does not count a histogram `output_tokens`, nor the counter `output_tokens`" in run.messages["deploy"]


def test_a_gate_that_can_be_judged_is_deployed(project):
    """The other half: looking ahead stops nobody."""
    run = project.write(metrics=SERVED).run()

    assert run.exit == 0


def test_a_margin_that_buckets_make_wider_is_said_before_the_ramp(project):
    """Nobody should believe in 1.2x where 2x is judged."""
    run = project.write(metrics=f"{SERVED}, bounds: [0.05, 0.1, 0.2, 0.4, 0.8, 1.6]").run()

    assert run.exit == 0
    assert "latency_p99 is judged at 2x, not 1.2x: the next bucket boundary lies there" in run.out


def test_replicas_that_agree_are_named_in_the_verdict(project):
    """Counted apart, they are the second opinion."""
    replicas = "replicas: {v1: 8, v2: 4, v2-errors: 4}"
    run = project.write(metrics=replicas, replace={"hold: 10s": "hold: 30s"}).run(image="gateway:v2-errors")

    assert run.exit == 1
    good = project.write(metrics=replicas).run()
    assert good.exit == 0
