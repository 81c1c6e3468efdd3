"""Numbers of a power run: intervals, what is caught, what is required, what is advised."""

from dataclasses import replace
from math import inf

import pytest

from pytest_canary.errors import UsageError
from pytest_canary.gates import Gate, Limits, metric
from pytest_canary.power.advice import candidates, information, never, of_rate
from pytest_canary.power.cells import Cell, injection_of
from pytest_canary.power.picture import picture
from pytest_canary.power.require import parse
from pytest_canary.power.summary import Line, smallest_caught, wilson
from pytest_canary.power.table import table
from pytest_canary.simulation.defaults import DEFAULT


def _gate(name="error_rate", ratio=1.5, alpha=0.01):
    return Gate(name, metric(name), Limits(ratio=ratio), alpha=alpha)


def _line(size, stopped, gate="error_rate", exposed=100.0, minutes=2.0):
    low, high = wilson(round(100 * stopped), 100)
    return Line(gate, size, 100, 100, stopped, low, high, stopped, "5%", exposed, 2 * exposed, minutes, minutes)


def test_the_interval_of_a_share_is_wilsons():
    """None of 1,000 is not a proof of never; the values are those of the textbook."""
    assert wilson(0, 1000) == pytest.approx((0.0, 0.003827), abs=2e-5)
    assert wilson(10, 100) == pytest.approx((0.0552, 0.1744), abs=1e-4)
    assert wilson(100, 100)[1] == pytest.approx(1.0)
    assert wilson(0, 0) == (0.0, 1.0)


def test_the_smallest_that_is_caught_has_nothing_larger_that_is_not():
    """A lucky small one does not count while a larger one slips through."""
    lines = [_line(1.5, 0.95), _line(2, 0.5), _line(3, 0.9), _line(5, 1.0)]
    found = smallest_caught(lines)
    assert found is not None
    assert found.size == 3
    assert smallest_caught([_line(2, 0.5)]) is None


def test_what_one_request_tells_is_the_planners_formula():
    """Figures of the research notes: 1 % errors, 5 % of the traffic, twice as many."""
    one = of_rate(0.01, 0.05, 2.0)
    assert (one.mean, one.variance) == pytest.approx((0.003617, 0.008756), abs=2e-6)
    assert one.requests(0.01, sure=0.5) == pytest.approx(1428, abs=2)
    assert one.requests(0.01, sure=0.9) == pytest.approx(2996, abs=3)
    assert of_rate(0.01, 0.05, 1.0).requests(0.01) == inf


def test_fewest_users_meet_it_at_the_smallest_share_that_has_the_time():
    """100 requests a second, 1 % errors, twice as many, half an hour: 2 %, as simulated in the notes."""
    first = next(candidates(_gate(), DEFAULT, 2.0, 1800.0))
    assert first.share == 0.02
    assert first.seconds <= 1800
    sooner = next(candidates(_gate(), DEFAULT, 2.0, 600.0))
    assert sooner.share > first.share


def test_where_no_share_is_enough_the_traffic_that_would_be_is_named():
    """Ten requests a second and one error in a thousand: nobody can know in half an hour."""
    thin = replace(DEFAULT, rate=10.0, outcomes={**DEFAULT.outcomes, "errors": 0.001})
    assert not list(candidates(_gate(), thin, 2.0, 1800.0))
    assert "it would take about" in never(_gate(), thin, 2.0, 1800.0)


def test_a_slower_or_longer_build_tells_more_the_worse_it_is():
    """For quantiles the share beyond one of them, for means the shift in deviations."""
    for name in ("latency_p99", "output_tokens"):
        told = [information(_gate(name), DEFAULT, 0.05, size).mean for size in (1.2, 1.5, 3.0)]
        assert 0 < told[0] < told[1] < told[2]


def test_where_more_is_better_worse_is_less():
    """Quality that is twice as bad is half of it."""
    assert injection_of(_gate("quality"), 2.0).amount == 0.5
    assert injection_of(_gate(), 2.0).amount == 2.0


def test_a_requirement_says_what_was_found_beside_it():
    """A share with its interval, users and minutes as the table has them."""
    good = replace(_line(1.0, 0.02, gate=""), minutes_median=30.0)
    lines = {Cell(): good, Cell("error_rate", 2.0): _line(2, 0.95, exposed=1900)}
    texts = ["false_rollback<=1%", "caught(error_rate x2)>=90%", "exposed(error_rate x2) <= 2000", "minutes<40"]
    judged = [one.judged(lines) for one in parse(texts, ["error_rate"])]
    assert [one.holds for one in judged] == [False, True, True, True]
    assert judged[0].says == "false_rollback<=1%: 2.0 % (0.6 to 7.0)"
    assert judged[2].says == "exposed(error_rate x2) <= 2000: 1,900 users"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("false_rollback", "expected 'false_rollback<=1%'"),
        ("falserollback<=1%", "did you mean false_rollback?"),
        ("caught(errors x2)>=90%", "did you mean error_rate?"),
        ("caught>=90%", "caught of what?"),
        ("false_rollback(error_rate x2)<=1%", "a good build is no worse in anything"),
        ("false_rollback<=5", "expected 0 to 1, or per cent"),
    ],
)
def test_a_requirement_that_cannot_be_read_names_the_right_word(text, says):
    """What was found and what to type."""
    with pytest.raises(UsageError) as error:
        parse([text], ["error_rate"])
    assert says in str(error.value)


def test_the_table_and_the_picture_tell_the_same_lines():
    """Terminal bars, and a file that needs nothing else."""
    lines = [_line(1.0, 0.0, gate=""), _line(2, 0.5, exposed=1234), _line(5, 1.0)]
    told = "\n".join(table(lines))
    assert "error_rate x2" in told
    assert "1,234" in told
    assert "error_rate: x5 and worse is stopped nine times in ten" in told
    drawn = picture(lines, "gateway <production>")
    assert drawn.startswith("<svg")
    assert "gateway &lt;production&gt;" in drawn
    assert "http" not in drawn.replace("http://www.w3.org/2000/svg", "")
