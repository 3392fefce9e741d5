"""What a sabotage is."""

from typing import NamedTuple


class Sabotage(NamedTuple):
    """In `module`, `old` (which stands there once) becomes `new`; then a test of `test` fails.

    `module` and `test` are paths below `app/security` and `tests/security`, without the suffix.
    """

    module: str
    test: str
    old: str
    new: str
