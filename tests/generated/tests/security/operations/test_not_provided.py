"""The protections that this project lacks are documented, and listed by `manage doctor`."""

import pytest

from app.security.core.settings import ROOT
from app.security.operations.doctor import not_provided
from tests.security.fixtures import MakeClient
from tests.security.terminal import Manage

PAGE = (ROOT / "docs/security/not-provided.md").read_text()
ALWAYS_LISTED = ("the proxy before the service", "JSON lines on stdout")


def test_doctor_lists_what_the_page_lists(make_client: MakeClient, manage: Manage) -> None:
    make_client()

    printed = manage("doctor").stdout

    listed = [line for line in printed.splitlines() if line.startswith("Not provided: ")]
    assert listed == [f"Not provided: {what}; instead: {instead}" for what, instead in not_provided().items()]
    assert len(listed) == len([line for line in PAGE.splitlines() if line.startswith("| ")]) - 1


@pytest.mark.parametrize("words", ALWAYS_LISTED)
def test_the_page_lists_what_no_answer_adds(words: str) -> None:
    assert words in PAGE
