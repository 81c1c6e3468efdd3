"""When a build counts as warm."""

from itertools import pairwise

import pytest

from pytest_canary.adapters.clock import SystemClock, VirtualClock
from pytest_canary.errors import NotStarted
from pytest_canary.plan import Warmup
from pytest_canary.ports import Answer, Prompt
from pytest_canary.steps.steady import Kind, Round, Took, kinds, windows
from pytest_canary.steps.warm import warm

SHORT, LONG = Kind(True, False), Kind(True, True)


def rounds(number: int, first: float = 0.1, *, long: float = 0.3, seconds: float = 1.0, tokens: int | None = 10):
    """So many rounds of three short prompts and a long one."""
    took = [Took(SHORT, seconds, first, tokens)] * 3 + [Took(LONG, seconds, long, tokens)]
    return [Round(4, seconds, tuple(took))] * number


def steady(*parts: list[Round]) -> bool:
    """Whether the last two windows of these rounds, one after the other, are alike."""
    now, *before = windows([one for part in parts for one in part], [SHORT, SHORT, SHORT, LONG])
    return bool(before) and now.like(before[0])


def test_what_does_not_change_is_steady():
    """After twice forty answers, not before."""
    assert steady(rounds(20))
    assert not steady(rounds(19))


@pytest.mark.parametrize(
    "later",
    [
        rounds(10, first=0.085),
        rounds(10, long=0.25),
        rounds(10, seconds=0.85),
        rounds(10, tokens=12),
        rounds(10, first=0.12),
    ],
    ids=["short prompts got faster", "long prompts got faster", "throughput grew", "more tokens", "slower"],
)
def test_any_change_of_more_than_a_tenth_is_not_steady(later):
    """Warm for short prompts is not warm for long ones."""
    assert not steady(rounds(10), later)


def test_a_change_within_a_tenth_is_chance():
    """No two windows are the same."""
    assert steady(rounds(10), rounds(10, first=0.095, long=0.28, seconds=0.95))


def test_the_windows_grow_so_that_an_early_slowness_is_left_behind():
    """Each is a third of what was asked at full width."""
    assert not steady(rounds(10, first=0.5), rounds(10))
    assert steady(rounds(20, first=0.5), rounds(40))


def test_rounds_of_another_width_do_not_count():
    """One request at a time is answered faster than four."""
    narrow = [Round(1, 0.1, (Took(SHORT, 0.1, 0.01, 10),))] * 100

    assert not steady(narrow, rounds(19))
    assert steady(narrow, rounds(20))


def test_answers_count_where_tokens_are_not_told():
    """Not every stream has a usage."""
    now, _ = windows(rounds(20, tokens=None), [SHORT])

    assert (now.tokens_per_second, now.answers_per_second) == (None, 4.0)
    assert str(now) == "TTFT 100 ms, 4.0 answers/s"


def test_a_window_without_a_good_answer_is_never_steady():
    """A canary that only fails is not warm."""
    assert not steady([Round(4, 1.0, ())] * 40)
    assert str(next(windows([Round(4, 1.0, ())], [SHORT]))) == "nothing answered"


def test_prompts_are_short_or_long_only_where_they_differ_much():
    """Four times as long is another kind; a stream is another kind than a whole answer."""
    sizes = [Prompt(body={"x": "y" * size}) for size in (10, 12, 15)]
    longer = Prompt(body={"x": "y" * 500}, stream=True)

    assert set(kinds(sizes)) == {Kind(False, False)}
    assert list(kinds([*sizes, longer])) == [Kind(False, False)] * 3 + [Kind(True, True)]


class Build:
    """A probe of a build that answers at once, and remembers how much it was asked between two looks at the time."""

    def __init__(self, error: str | None = None) -> None:
        self.error = error
        self.asked = 0

    def ask(self, address: str, prompt: Prompt) -> Answer:  # noqa: ARG002
        """A right answer, or one that is wrong."""
        self.asked += 1
        return Answer(200, 0.1, 0.05, error=self.error, tokens=3)

    def close(self) -> None:
        """Nothing to let go of."""


def test_requests_at_a_time_grow_to_the_concurrency():
    """A server meets one, two, four at a time before it meets six, and may compile for each."""
    build, seen = Build(), list[int]()
    warmup = Warmup(60.0, None, None, True, 6, (Prompt(body={}, stream=True),))
    warm(build, "", warmup, VirtualClock(), lambda _: seen.append(build.asked))
    steps = [after - before for before, after in pairwise(seen)]

    assert steps[:6] == [1, 1, 2, 2, 4, 4]
    assert set(steps[6:]) == {6}


@pytest.mark.parametrize(
    ("limits", "ended"),
    [
        ({"seconds": 1.0}, "time, not steady yet"),
        ({"seconds": 60.0, "requests": 30}, "requests, not steady yet"),
        ({"seconds": 60.0, "tokens": 30}, "tokens, not steady yet"),
        ({"seconds": 60.0}, "steady TTFT and throughput"),
        ({"seconds": 60.0, "requests": 300, "until_steady": False}, "requests"),
    ],
)
def test_what_ended_it_is_told_with_the_speed_at_the_end(limits, ended):
    """Whoever reads the row sees what users would have met."""
    warmed = warm(
        Build(), "", Warmup(**limits, prompts=(Prompt(body={}, stream=True),)), VirtualClock(), lambda _: None
    )

    assert warmed.ended_by == ended
    assert warmed.ttft_seconds == 0.05
    assert f"ended by {ended}: TTFT 50 ms, " in str(warmed)
    assert str(warmed).endswith(" tokens/s")


def test_real_time_is_measured_even_when_answers_only_say_what_they_took():
    """A fake that answers at once ends too, and does not spin for minutes."""
    warmed = warm(Build(), "", Warmup(20.0, prompts=(Prompt(body={}, stream=True),)), SystemClock(), lambda _: None)

    assert warmed.seconds < 5
    assert warmed.tokens_per_second == pytest.approx(120, rel=0.2)


def test_a_build_that_fails_more_than_half_is_not_started():
    """There is nothing to warm."""
    with pytest.raises(NotStarted, match="first: out of memory"):
        warm(Build("out of memory"), "", Warmup(1.0, prompts=(Prompt(body={}),)), VirtualClock(), lambda _: None)
