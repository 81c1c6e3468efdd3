"""Promise 9: JUnit has a row for everything, with the numbers where CI readers look."""


def test_a_promotion_has_a_row_for_every_step_and_gate(project):
    """History in CI is by row name: they must not disappear."""
    rows = project.write().run().rows

    for step in ("deploy", "smoke", "warmup", "baseline", "promote"):
        assert rows[step] == "passed"
    for stage in ("5%", "25%", "50%", "100%"):
        assert rows[f"error_rate[{stage}]"] == "passed"
        assert rows[f"latency_p99[{stage}]"] == "passed"


def test_a_rollback_names_gate_and_counts_in_its_message(project):
    """Most CI readers show the message and nothing else."""
    run = project.write().run(image="gateway:v2-errors")

    assert run.rows["promote"] == "skipped"
    message = run.messages["error_rate[5%]"]
    assert "canary" in message
    assert "baseline" in message
    assert "/" in message
    assert "1.5x" in message


def test_a_passed_gate_says_its_numbers_in_the_output(project):
    """With junit_logging, readers that show output show them."""
    assert "baseline" in project.write().run().messages["error_rate[25%]"]


def test_every_row_has_a_name_and_no_name_stands_twice(project):
    """Of two rows with one name, readers keep one."""
    import xml.etree.ElementTree as ET

    project.write(test_own="def test_own(stage): pass").run()
    cases = [(case.get("classname"), case.get("name")) for case in ET.parse("out.xml").getroot().iter("testcase")]

    assert all(all(case) for case in cases)
    assert len(cases) == len(set(cases))


def test_the_metrics_stand_beside_the_junit(project):
    """Whoever reads the row can read the counters."""
    project.write().run()
    lines = (project.pytester.path / "out.metrics.jsonl").read_text().splitlines()

    assert len(lines) > 10


def test_overrides_are_listed(project):
    """Whoever loosened a gate for this run should be seen to have done so."""
    run = project.write().run("--canary-set", "gates.error_rate.ratio=3")

    assert "gates.error_rate.ratio=3" in run.out
