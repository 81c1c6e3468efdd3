"""What a run has counted, on disk, line by line as it goes; docs/recordings.md tells the format."""

from pytest_canary.recording.kayenta import Meaning, lines_of, oddities, read_pairs
from pytest_canary.recording.parts import number
from pytest_canary.recording.reading import Heard, read
from pytest_canary.recording.values import VERSION, Event, Header, Notice, Poll, Recorded
from pytest_canary.recording.writing import Recording

__all__ = [
    "VERSION",
    "Event",
    "Header",
    "Heard",
    "Meaning",
    "Notice",
    "Poll",
    "Recorded",
    "Recording",
    "lines_of",
    "number",
    "oddities",
    "read",
    "read_pairs",
]
