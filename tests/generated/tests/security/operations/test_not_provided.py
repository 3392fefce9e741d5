"""The protections that this project lacks are documented."""

import pytest

from app.security.core.settings import ROOT

PAGE = (ROOT / "docs/security/not-provided.md").read_text()
ALWAYS_LISTED = ("the proxy before the service", "JSON lines on stdout")


@pytest.mark.parametrize("words", ALWAYS_LISTED)
def test_the_page_lists_what_no_answer_adds(words: str) -> None:
    assert words in PAGE
