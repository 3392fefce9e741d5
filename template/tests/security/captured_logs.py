"""Read the log lines that a service wrote."""

import pytest

Capture = pytest.CaptureFixture[str]


def written(capture: Capture) -> str:
    """Everything since the last look, on both streams."""
    return "".join(capture.readouterr())
