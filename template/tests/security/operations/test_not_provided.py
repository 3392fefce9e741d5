"""What this project's answers leave uncovered is written down, and said by `manage doctor`."""

import pytest

from app.security.core.settings import ROOT
from app.security.operations.doctor import not_provided
from tests.security.fixtures import MakeClient
from tests.security.terminal import Manage

PAGE = (ROOT / "docs/security/not-provided.md").read_text()
ALWAYS_SAID = ("the proxy before the service", "JSON lines on stdout")


def test_doctor_says_what_the_page_says(make_client: MakeClient, manage: Manage) -> None:
    make_client()

    printed = manage("doctor").stdout

    said = [line for line in printed.splitlines() if line.startswith("Not provided: ")]
    assert said == [f"Not provided: {what}; instead: {instead}" for what, instead in not_provided().items()]
    assert len(said) == len([line for line in PAGE.splitlines() if line.startswith("| ")]) - 1


@pytest.mark.parametrize("words", ALWAYS_SAID)
def test_what_no_answer_brings_is_said_too(words: str) -> None:
    assert words in PAGE
