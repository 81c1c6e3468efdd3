"""What is remembered of a page is what the library makes of it, to the letter."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_canary.adapters.profiles import BUILT_IN, load
from pytest_canary.adapters.scrape.exposition import OPENMETRICS, Exposition, Parser, Unreadable
from pytest_canary.adapters.scrape.reading import Reading

EXPOSED = Path(__file__).parents[1] / "resources" / "exposition"
PLAIN = "text/plain"
NAMES = ("r_total", "d_bucket", "d_sum", "bare", "now")


def series(page: Exposition) -> dict[str, list[tuple[dict[str, str], float]]]:
    """Of a page, in plain values."""
    return {name: [(dict(labels), value) for labels, value in found] for name, found in page.series.items()}


def looks(*texts: str, kind: str = PLAIN) -> Exposition:
    """The last of several looks at a page that changes."""
    parser = Parser(NAMES)
    for text in texts[:-1]:
        parser.parse(text, kind)
    return parser.parse(texts[-1], kind)


@pytest.mark.parametrize("name", BUILT_IN)
def test_a_second_look_at_what_a_server_exposes_is_like_the_first(name):
    """And both have all that the profile reads."""
    text, reading = (EXPOSED / f"{name}.txt").read_text(), Reading(load(name, Path()))
    first, second = (reading.parser.parse(text, PLAIN) for _ in range(2))
    whole = Parser().parse(text, PLAIN)
    wanted = {metric for part in reading.parts for metric in part.metrics}

    assert series(first) == series(second)
    assert first.kinds == second.kinds
    for metric in wanted:
        assert [*first.of([metric])] == [*whole.of([metric])]


@given(
    values=st.lists(
        st.text(st.characters(codec="utf-8", exclude_characters="\n\r"), max_size=12), max_size=4, unique=True
    ),
    counts=st.tuples(st.floats(0, 1e12), st.floats(0, 1e12)),
)
@settings(max_examples=200, deadline=None)
def test_whatever_stands_in_a_label_is_remembered_as_it_was_read(values, counts):
    """Spaces, braces, quotes and numbers too."""

    def text(count: float) -> str:
        shown = [value.replace("\\", "\\\\").replace('"', '\\"') for value in values]
        return "".join(f'r_total{{a="{value}",b="x"}} {count!r}\n' for value in shown) + f"now {count!r}\n"

    assert series(looks(*map(text, counts))) == series(Parser().parse(text(counts[1]), PLAIN))


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("r_total 1\n", "r_total 2\n"),
        ("r_total 1\n", 'r_total 2\nr_total{a="1"} 3\n'),
        ('r_total{a="1"} 1\nnow 2\n', "now 3\n"),
        ("r_total 1\n", "r_total 2 1700000000000\n"),
        ("r_total 1 1700000000000\n", "r_total 2 1700000005000\n"),
        ("# TYPE bare counter\nbare 1\n", "# TYPE bare counter\nbare 2\n"),
        ("# TYPE bare gauge\nbare 1\n", "# TYPE bare counter\nbare 2\n"),
        ("now NaN\n", "now 1e3\n"),
        ("now 1\n", "now +Inf\n"),
        ('r_total{a="1", b="2",} 1\n', 'r_total{a="1",b="2"} 2\n'),
        ("r_total\t1\n", "r_total\t2\n"),
    ],
)
def test_a_page_that_changes_is_read_as_if_it_were_new(before, after):
    """Numbers, series, types and time stamps."""
    again, new = looks(before, before, after), Parser(NAMES).parse(after, PLAIN)

    assert series(again) == series(new)
    assert (again.kinds, again.told_at) == (new.kinds, new.told_at)


def test_examples_beside_a_number_are_passed_over():
    """OpenMetrics has them behind it, and they change all the time."""
    page = '# TYPE r counter\nr_total 1 # {{trace_id="{0}"}} {0}\n# TYPE d histogram\nd_bucket{{le="+Inf"}} 1\n# EOF\n'
    again = looks(*(page.format(nth) for nth in "123"), kind=OPENMETRICS)

    assert series(again) == {"r_total": [({}, 1)], "d_bucket": [({"le": "+Inf"}, 1)]}


@pytest.mark.parametrize("after", ["r_total 2\nr_total 3\n", "r_total two\n", "r_total{ 2\n", "r_total 1_000\n"])
def test_a_page_that_goes_wrong_later_is_refused_then(after):
    """It was well when it was first read."""
    with pytest.raises(Unreadable):
        looks("r_total 1\n", "r_total 1\n", after)
