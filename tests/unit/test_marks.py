"""What `pytest-canary check` reads in test files: gates that stand there in plain values."""

import pytest

from pytest_canary.command.marks import declared_in

SOURCE = """
import pytest
LIMIT = 1.5
pytestmark = [pytest.mark.gate("ttft_p99", ratio=1.3)]

@pytest.mark.gate("error_rate", ratio=2, action="alert")
def test_one(stage): ...

@pytest.mark.gate("latency_p95", ratio=LIMIT)
def test_two(stage):
    stage.check("refusal_rate", max=0.02, by=["model"])
    stage.check(metric, **limits)
    other.check("not ours", 1)
    assert gate("not ours")
"""


def test_gates_are_read_without_running_the_file(tmp_path):
    """A file that connects somewhere when it is imported does nothing here."""
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "test_gates.py").write_text(SOURCE + "raise SystemExit(7)\n")
    found = declared_in(tmp_path)

    assert [(one.where, one.metric, one.options) for one in found if one.written] == [
        ("deep/test_gates.py:4", "ttft_p99", {"ratio": 1.3}),
        ("deep/test_gates.py:6", "error_rate", {"ratio": 2, "action": "alert"}),
        ("deep/test_gates.py:11", "refusal_rate", {"max": 0.02, "by": ["model"]}),
    ]
    assert [one.where for one in found if not one.written] == ["deep/test_gates.py:9", "deep/test_gates.py:12"]


@pytest.mark.parametrize("text", ["def broken(:", "\0", "#" * 2_000_000, "conftest"])
def test_a_file_that_is_no_python_declares_nothing(tmp_path, text):
    """Pytest will say so when it collects it."""
    (tmp_path / "test_broken.py").write_text(text)
    (tmp_path / "helper.py").write_text(SOURCE)

    assert declared_in(tmp_path) == []
