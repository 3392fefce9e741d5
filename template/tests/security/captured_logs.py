"""Read the log lines that a service wrote, buffered ones included."""

import pytest

from app.security.core import logs

Capture = pytest.CaptureFixture[str]


def written(capture: Capture) -> str:
    """Everything since the last look, on both streams."""
    logs.Output.stream().flush()
    return "".join(capture.readouterr())
