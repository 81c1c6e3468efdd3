"""What a finished rollout leaves: text for the terminal, Markdown, JSON, and one line of history."""

from pytest_canary.report.data import SCHEMA, to_json
from pytest_canary.report.files import check_suffix, write
from pytest_canary.report.markdown import markdown
from pytest_canary.report.summary import last_line
from pytest_canary.report.text import text

__all__ = ["SCHEMA", "check_suffix", "last_line", "markdown", "text", "to_json", "write"]
