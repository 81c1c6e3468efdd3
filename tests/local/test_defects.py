"""Each way a build can be bad ends as it has to, on real Envoy and real processes."""

from __future__ import annotations

import pytest

from tests.local.defects import BEGIN, DEFECTS, END, PAGE, Defect, side_by_side, wrong


def asked(item: pytest.Item) -> Defect | None:
    """The case of a test, if it has one."""
    found = getattr(item, "callspec", None)
    return found.params.get("case") if found else None


@pytest.fixture(scope="module")
def runs_of(request, tmp_path_factory):
    """The runs of all builds that were asked for, a few at once, begun when the first is waited for."""
    cases = [case for case in map(asked, request.session.items) if isinstance(case, Defect)]
    return side_by_side(cases, tmp_path_factory.mktemp("defects"), times=1)


@pytest.mark.parametrize("case", DEFECTS, ids=lambda case: case.name)
def test_a_build_ends_as_it_has_to(case, runs_of):
    """The step that stops it, the gate, the exit code and the outcome."""
    (run,) = [future.result() for future in runs_of(case)]

    assert not wrong(case, run), run.out
    if case.end != "rolled back":
        assert run.report["users"]["dropped"] == 0


def test_the_page_has_every_build_and_how_it_ends():
    """The table is made by the same cases; a case that was added or changed needs it made again."""
    made = PAGE.read_text().partition(BEGIN)[2].partition(END)[0]
    rows = [line.strip("|").split("|") for line in made.splitlines() if line.startswith("| `")]
    told = [(row[0].strip(), row[1].strip(), row[3].strip(), row[4].strip()) for row in rows]

    assert told == [(case.title, case.what, str(case.exit), case.end) for case in DEFECTS]
