"""docs/exercises.md: each command that is shown is run, and ends as the page says."""

import re
import shlex
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/exercises.md").read_text()
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```", PAGE, re.S | re.M)
SHOWN = [block for language, block in BLOCKS if not language]
FACTS = ("rolled back in", "promoted in", "ERROR:", "exposed", "canary cost_per_request[")


def folded(text):
    """One space wherever there are more."""
    return re.sub(r"[ \t]+", " ", text)


def test_five_questions_are_asked():
    """And every one of them is answered by at least one command."""
    chapters = PAGE.split("\n## ")[1:]

    assert [chapter[0] for chapter in chapters] == list("12345")
    assert all("$ pytest" in chapter for chapter in chapters)


@pytest.mark.parametrize(
    "shown", SHOWN, ids=[re.sub(r"[^\w.%=+-]+", "_", block.split("\n")[0][32:90]) for block in SHOWN]
)
def test_a_command_ends_as_the_page_says(pytester, monkeypatch, shown):
    """Stage, gate, end, and how many users met it: what a reader would see."""
    command, *lines = shown.strip().split("\n")
    words = shlex.split(command.removeprefix("$ pytest rollouts/ "))
    monkeypatch.chdir(ROOT)
    result = pytester.runpytest_inprocess(
        *("-p", "no:cacheprovider", f"--rootdir={ROOT}", str(ROOT / "rollouts"), *words),
        f"--canary-state={pytester.path / 'state'}",
    )
    out = folded(result.stdout.str() + result.stderr.str())
    facts = [line.strip() for line in lines if line.strip().startswith(FACTS)]

    assert facts
    for fact in facts:
        assert folded(fact) in out
    assert result.ret == (4 if "ERROR" in shown else 0 if "\npromoted in" in shown else 1)


def test_twenty_seeds_end_where_the_page_says(monkeypatch):
    """The one piece of Python on the page."""
    monkeypatch.chdir(ROOT)
    (block,) = [block for language, block in BLOCKS if language == "python"]

    exec(compile(block, "docs/exercises.md", "exec"), {})
