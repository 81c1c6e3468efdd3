"""Numbers of a power run: intervals, what is caught, what is required, what is advised."""

import re
from dataclasses import replace
from itertools import pairwise
from math import inf
from types import SimpleNamespace

import pytest

from pytest_canary.command.bar import line
from pytest_canary.errors import UsageError
from pytest_canary.gates import Gate, Limits, metric
from pytest_canary.plan import Stage
from pytest_canary.power.advice import Information, information, of_rate
from pytest_canary.power.cells import Cell, injection_of
from pytest_canary.power.ended import Ended
from pytest_canary.power.ladders import Search
from pytest_canary.power.picture import page, picture
from pytest_canary.power.require import parse
from pytest_canary.power.summary import Line, line_of, smallest_caught, wilson
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


def _search(within, size=2.0, traffic=DEFAULT, gate=None):
    own = tuple(Stage("r", at, share, 300.0, 500, 1800.0) for at, share in enumerate((0.05, 0.25, 0.5, 1.0)))
    return Search(gate or _gate(), traffic, size, within, own)


def test_how_probably_it_has_been_found_is_the_planners_formula():
    """Figures of the research notes: what is known, 6.95 nats with a variance of 18, and what that is worth."""
    assert Information(6.95, 18.0).found(0.01) == pytest.approx(0.6955, abs=1e-3)
    one = of_rate(0.01, 0.02, 2.0) * 3600
    assert one.found(0.01) == pytest.approx(0.949, abs=2e-3)
    assert Information(0.0, 0.0).found(0.01) == 0.0
    assert Information(1e6, 1e6).found(0.01) == 1.0


def test_fewest_users_meet_it_at_the_smallest_share_that_has_the_time():
    """100 requests a second, 1 % errors, twice as many, half an hour: 2 %, as simulated in the notes."""
    best = _search(1800.0).best()
    assert best is not None
    assert best.steps[0].share == 0.02
    assert best.seconds <= 1800
    sooner = _search(600.0).best()
    assert sooner is not None
    assert sooner.steps[-1].share > best.steps[-1].share
    assert sooner.users > best.users


def test_where_one_share_has_not_the_time_a_second_one_ends_what_it_began():
    """A small share first and a larger one after it meet fewer users than the larger one alone."""
    both, alone = _search(220.0).best(), _search(220.0).best(most=1)
    assert both is not None
    assert alone is not None
    assert len(both.steps) > 1
    assert both.users < alone.users
    assert both.seconds <= 220 + len(both.steps)
    shares = [step.share for step in both.steps]
    assert shares == sorted(shares)


def test_the_stages_that_follow_count_too():
    """Whom the advised stages do not spare, the last one with all the traffic does not either."""
    search = _search(600.0)
    best = search.best()
    assert best is not None
    hasty = [replace(best.steps[0], seconds=10.0, requests=20)]
    assert search.users(hasty) > search.users(best.steps)


def test_where_no_share_is_enough_the_traffic_that_would_be_is_named():
    """Ten requests a second and one error in a thousand: nobody can know in half an hour."""
    thin = replace(DEFAULT, rate=10.0, outcomes={**DEFAULT.outcomes, "errors": 0.001})
    search = _search(1800.0, traffic=thin)
    assert search.best() is None
    needed = search.traffic_needed()
    assert 10 < needed < 1000
    assert _search(1800.0, traffic=replace(thin, rate=1.01 * needed)).best(most=1) is not None


def test_of_some_metrics_nothing_is_known_in_advance():
    """No closed form for scores: they are only simulated."""
    assert not _search(1800.0, gate=_gate("quality")).known
    assert _search(1800.0).known


@pytest.mark.parametrize("columns", [20, 40, 80, 200])
@pytest.mark.parametrize("done", [0, 1, 6100, 12200])
def test_the_progress_bar_is_one_line_of_the_terminal(columns, done):
    """A longer one would wrap, and the next could not be drawn over it."""
    told = f"{done:,} of 12,200 rollouts, about 1357 s left, inter_token_latency_p95 x1.2"
    drawn = line(done, 12200, told, columns)
    assert len(drawn) < columns
    if columns >= 80:
        assert drawn.endswith(told)
    if columns == 200:
        assert drawn.count("#") == 30 * done // 12200


def test_a_slower_or_longer_build_tells_more_the_worse_it_is():
    """For quantiles the share beyond one of them, for means the shift in deviations."""
    for name in ("latency_p99", "output_tokens"):
        told = [information(_gate(name), DEFAULT, 0.05, size).mean for size in (1.2, 1.5, 3.0)]
        assert 0 < told[0] < told[1] < told[2]


def test_whys_that_differ_in_their_numbers_only_are_one_line():
    """Every rollout has a traffic of its own; a thousand lines of the same would bury the table."""
    why = "stage 5% can never pass: 50 requests take {0} s; write `deadline: {0}s`"
    whys = (*(why.format(seconds) for seconds in (480, 619, 455.5)), "another", "")
    ended = replace(Ended.none(5), why=whys)
    plan = SimpleNamespace(gates=(), stages=())
    assert line_of(Cell(), ended, plan).refused == ((why.format(619), 3), ("another", 1))


def test_where_more_is_better_worse_is_less():
    """Quality that is twice as bad is half of it."""
    assert injection_of(_gate("quality"), 2.0).amount == 0.5
    assert injection_of(_gate(), 2.0).amount == 2.0


def test_a_requirement_says_what_was_found_beside_it():
    """A share with its interval, users and minutes as the table has them."""
    good = replace(_line(1.0, 0.02, gate=""), minutes_median=30.0)
    lines = {Cell(): good, Cell("error_rate", 2.0): _line(2, 0.95, exposed=1900)}
    texts = ["false_rollback<=1%", "caught(error_rate x2)>=90%", "exposed(error_rate x2) <= 2000", "minutes<40"]
    texts.append("exposed_p90(error_rate x2)<=10")
    judged = [one.judged(lines) for one in parse(texts, ["error_rate"])]
    assert [one.holds for one in judged] == [False, True, True, True, False]
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
        ("caught(error_rate x1)>=90%", "expected more than x1"),
        ("caught(error_rate x0.5)>=90%", "found a build that is x0.5"),
        ("exposed(error_rate x2)<=5%", "found the unit `%`, expected no unit"),
        ("exposed(error_rate x2)<=600m", "found the unit `m`, expected no unit"),
        ("minutes<=40%", "expected `m` or `min`"),
        ("caught(error_rate x2)>=5m", "found the unit `m`, expected `%`"),
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


def _boxes(drawn):
    """Every text of a picture as (left, right, line): about six tenths of a letter's height is its width."""
    found = []
    for words, text in re.findall(r"<text ([^>]*)>([^<]*)</text>", drawn):
        said = dict(re.findall(r'([\w-]+)="([^"]*)"', words))
        wide = 0.58 * float(said.get("font-size", 11)) * len(text)
        begin = float(said["x"]) - {"middle": wide / 2, "end": wide}.get(said.get("text-anchor", ""), 0)
        found.append((begin, begin + wide, float(said["y"]), text))
    return found


@pytest.mark.parametrize("gates", [1, 2, 8])
@pytest.mark.parametrize(
    "sizes", [(2.0,), (1.2, 1.5, 2.0, 3.0, 5.0, 10.0, 20.0), tuple(1.1 + n / 20 for n in range(20))]
)
def test_nothing_in_the_picture_lies_on_another_word_or_outside(gates, sizes):
    """Long names, many users, many sizes, few charts."""
    names = [f"a_gate_of_ones_own_with_a_name_that_is_much_too_long_{number}" for number in range(gates)]
    lines = [_line(1.0, 0.0, gate="")]
    lines += [
        _line(size, 0.5, gate=name, exposed=1_234_567.0 * number) for name in names for number, size in enumerate(sizes)
    ]
    drawn = picture(
        lines, "a-service-with-a-long-name on production: " + "what is stopped, and after how many users " * 3
    )
    width = float(re.search(r'viewBox="0 0 (\d+)', drawn)[1])
    boxes = sorted(_boxes(drawn), key=lambda box: (box[2], box[0]))
    for begin, end, _, text in boxes:
        assert begin >= 0, text
        assert end <= width, text
    for one, other in pairwise(boxes):
        assert one[2] != other[2] or one[1] < other[0] + 1, (one, other)


def test_the_picture_follows_the_page_from_light_to_dark():
    """No colour is written where a dark page could not change it."""
    drawn = page([_line(1.0, 0.0, gate=""), _line(2, 0.5)], "gateway <production>")
    assert "prefers-color-scheme: dark" in drawn
    assert drawn.startswith("<!doctype html>")
    assert "<title>gateway &lt;production&gt;</title>" in drawn
    assert not re.search(r'(fill|stroke)="#', drawn)
