"""The rules of the web application firewall are those of this app: a new route or field changes them."""

from app.main import create_app
from app.security.operations import waf
from tests.security.terminal import Manage


def test_the_rules_are_written_for_this_version_of_the_app(manage: Manage) -> None:
    """They exist from the first `manage waf` on; nginx does not start without them."""
    assert waf.stale(create_app()) == [], "uv run manage waf"
