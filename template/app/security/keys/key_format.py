"""What an API key looks like: `<slug>_<live|test>_<id>_<secret><checksum>`, so that noise is refused without a query.

The id finds the row, the secret is 256 random bits, and the checksum is the CRC-32 of everything before it, as secret
scanners and we check it (the form that GitHub gave its tokens in 2021). All three are base62. A live key belongs to
production, a test key to development; neither opens the other.
"""

import re
import secrets
import string
import zlib
from typing import NamedTuple

from app.security.core.project import SLUG
from app.security.core.settings import Environment

BASE62 = string.digits + string.ascii_uppercase + string.ascii_lowercase
ID_LENGTH, SECRET_LENGTH, CHECKSUM_LENGTH = 11, 43, 6  # 43 base62 characters are 256 bits
MODES: dict[Environment, str] = {"production": "live", "development": "test"}

_KEY = re.compile(
    rf"{re.escape(SLUG)}_(live|test)_([0-9A-Za-z]{{{ID_LENGTH}}})_[0-9A-Za-z]{{{SECRET_LENGTH + CHECKSUM_LENGTH}}}\Z"
)


class ParsedKey(NamedTuple):
    mode: str
    public_id: str


def new_key(environment: Environment) -> tuple[str, str]:
    """A new key and the public id in it."""
    public_id = _random(ID_LENGTH)
    start = f"{SLUG}_{MODES[environment]}_{public_id}_{_random(SECRET_LENGTH)}"
    return start + checksum(start), public_id


def parse(text: str) -> ParsedKey | None:
    """The parts of a key that can be one of ours; None for everything else."""
    match = _KEY.match(text)
    if match is None or checksum(text[:-CHECKSUM_LENGTH]) != text[-CHECKSUM_LENGTH:]:
        return None
    return ParsedKey(match[1], match[2])


def checksum(text: str) -> str:
    """The CRC-32 of an ASCII text as six base62 digits, the most significant first."""
    number, digits = zlib.crc32(text.encode()), ""
    for _ in range(CHECKSUM_LENGTH):
        number, digit = divmod(number, len(BASE62))
        digits = BASE62[digit] + digits
    return digits


def _random(length: int) -> str:
    return "".join(secrets.choice(BASE62) for _ in range(length))
