"""Durations, shares, rates and limits as people write them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_canary.spec import units


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90s", 90), ("5m", 300), ("1h30m", 5400), ("1d", 86400), ("250ms", 0.25), ("300", 300), ("0.5", 0.5)],
)  # fmt: skip
def test_a_duration_has_units_or_is_plain_seconds(text, seconds):
    """Both are written in scripts that this replaces."""
    assert units.duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["5:30", "1e3", "-5s", "5 minutes", "s", "", "5m!", "nan", "inf", "no", "1h-5m"])
def test_what_is_no_duration_is_said(text):
    """A hold of no length must not come from a typing error."""
    with pytest.raises(ValueError, match="duration"):
        units.duration(text)


def test_sexagesimal_minutes_are_named():
    """YAML 1.1 reads 5:30 as 330, YAML 1.2 as a text."""
    with pytest.raises(ValueError, match="5m30s"):
        units.duration("5:30")


@given(st.integers(0, 10**6))
def test_whole_seconds_come_back(seconds):
    """However they are split into hours, minutes and seconds."""
    hours, rest = divmod(seconds, 3600)
    assert units.duration(f"{hours}h{rest // 60}m{rest % 60}s") == seconds


@pytest.mark.parametrize(("text", "share"), [("5", 0.05), ("5%", 0.05), ("0.5", 0.005), ("100", 1.0), (" 25 ", 0.25)])
def test_a_share_of_traffic_is_in_per_cent(text, share):
    """Stages read 5, 25, 50, 100."""
    assert units.percent(text) == pytest.approx(share)


@pytest.mark.parametrize("text", ["101", "-1", "five", "", "nan", "5%%"])
def test_what_is_no_share_is_said(text):
    """There is no 101 per cent of the traffic."""
    with pytest.raises(ValueError, match="share"):
        units.percent(text)


@pytest.mark.parametrize(("text", "ratio"), [("0.01", 0.01), ("1%", 0.01), ("0", 0.0), ("1", 1.0)])
def test_a_rate_is_a_ratio_or_has_its_sign(text, ratio):
    """1 is everything; one per cent is 1%."""
    assert units.rate(text) == pytest.approx(ratio)


@pytest.mark.parametrize("text", ["5", "101%", "-1%", "much"])
def test_a_rate_above_everything_is_a_mistake(text):
    """Whoever writes 5 means 5%."""
    with pytest.raises(ValueError, match="rate"):
        units.rate(text)


@pytest.mark.parametrize(("text", "seconds"), [("800ms", 0.8), ("1.5s", 1.5), ("1s500ms", 1.5)])
def test_a_latency_has_its_unit(text, seconds):
    """Eight hundred of what is not to be guessed."""
    assert units.latency(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["800", "fast", "", "-1s"])
def test_a_latency_without_unit_is_refused(text):
    """Milliseconds and seconds differ by a thousand."""
    with pytest.raises(ValueError, match="unit"):
        units.latency(text)


@pytest.mark.parametrize(("text", "value"), [("1e3", 1000), ("500", 500), ("0", 0), ("2.0", 2)])
def test_a_whole_number_may_be_written_with_an_exponent(text, value):
    """YAML 1.1 reads 1e3 as a text."""
    assert units.whole(text) == value


@pytest.mark.parametrize("text", ["1.5", "-1", "many", "1e999", "nan"])
def test_what_is_no_whole_number_is_said(text):
    """Half a request does not exist."""
    with pytest.raises(ValueError, match="number"):
        units.whole(text)


@pytest.mark.parametrize(("text", "value"), [("true", True), ("no", False), ("Off", False), ("YES", True)])
def test_yes_and_no_are_booleans_where_one_is_expected(text, value):
    """And nowhere else."""
    assert units.boolean(text) is value


def test_a_deadline_may_be_none():
    """Such a stage waits for ever."""
    assert units.deadline("none") is None
    assert units.deadline("30m") == 1800
