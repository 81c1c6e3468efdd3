"""Promise 8: no data is not good news."""


def test_a_canary_that_nobody_asks_is_rolled_back_as_soon_as_it_is_no_accident(project):
    """A router that accepts weights and does not follow them is not believed."""
    run = project.write(metrics="silent: [v2]").run()

    assert run.exit == 1
    assert run.rows["ramp[5%]"] == "failed"
    assert "the router was told 5.0% for the canary and accepted it, but 0.0% of" in run.messages["ramp[5%]"]
    assert not run.did("promote")
    assert run.shifts[-1] == 0.0


def test_a_source_that_stops_answering_is_waited_for_until_the_deadline(project):
    """An outage of the metrics is no verdict about the canary."""
    run = project.write(metrics="outage: {after: 12, for: 100000}").run()

    assert run.exit == 1
    assert not run.did("promote")


def test_a_source_that_comes_back_in_time_costs_nothing(project):
    """A short outage is bridged."""
    run = project.write(metrics="outage: {after: 12, for: 5}").run()

    assert run.exit == 0


def test_a_source_that_falls_silent_in_the_last_hold_promotes_nothing(project):
    """All that was asked for had been counted by then; what came after it nobody knows."""
    last = {"[5, 25, 50, 100]": "[100]", "hold: 10s": "hold: 60s"}
    run = project.write(metrics="outage: {after: 40, for: 100000}", replace=last).run()

    assert run.exit == 1
    assert not run.did("promote")
    assert "deadline of 120 s reached: the metrics are out" in run.messages["hold[100%]"]


def test_a_number_that_nobody_counts_fails_a_custom_gate(project):
    """`stage.canary.rate('refusals')` where no refusals are counted must not read as 0."""
    run = project.write(test_own="def test_own(stage): assert stage.canary.rate('refusals') <= 0.02").run()

    assert run.exit == 1
    assert "refusals" in run.messages["test_own[5%]"]


def test_a_stage_that_traffic_cannot_fill_is_refused_before_the_ramp(project):
    """A deadline that min_requests cannot meet is said before any user meets the canary, with the value that works."""
    run = project.write(replace={"min_requests: 20": "min_requests: 100000"}).run()

    assert run.exit == 1
    assert set(run.shifts) == {0.0}
    assert "deadline" in run.messages["baseline"]


def test_too_little_traffic_for_a_baseline_is_said(project):
    """What is normal must be known first."""
    run = project.write(replace={"rate: 100": "rate: 0.1"}).run()

    assert run.exit == 1
    assert "too little traffic" in run.messages["baseline"]


def test_a_service_that_is_counted_from_its_next_scrape_on_is_waited_for(project):
    """A series is born with the first request, and nobody knows of it before somebody looks."""
    run = project.write(metrics="outage: {after: 0, for: 20}").run()

    assert run.exit == 0
    assert run.rows["baseline"] == "passed"


def test_a_source_that_tells_nothing_of_the_stable_build_ends_the_run_before_any_user_meets_the_canary(project):
    """Half a minute is enough for a scrape; a wrong label never comes."""
    run = project.write(metrics="outage: {after: 0, for: 100000}").run()

    assert run.exit == 1
    assert set(run.shifts) == {0.0}
    assert "the baseline cannot be read: " in run.messages["baseline"]
