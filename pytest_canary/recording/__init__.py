"""What a run has counted, on disk, line by line as it goes; docs/recordings.md tells the format."""

from pytest_canary.recording.reading import read
from pytest_canary.recording.values import VERSION, Event, Header, Notice, Poll, Recorded
from pytest_canary.recording.writing import Recording

__all__ = ["VERSION", "Event", "Header", "Notice", "Poll", "Recorded", "Recording", "read"]
