"""The format of API keys: a checksum refuses noise, and secret scanners find a key by its published pattern."""

import re
import string

import pytest

from app.security.access.accounts import BASE62
from app.security.core.settings import ROOT, SLUG
from app.security.keys.store import CHECKSUM_LENGTH, checksum, new_key, parse


def test_a_new_key_is_read_back() -> None:
    key, public_id = new_key("production")

    assert key.startswith(f"{SLUG}_live_{public_id}_")
    assert parse(key) == ("live", public_id)


def test_a_key_names_its_environment() -> None:
    key, public_id = new_key("development")

    assert key.startswith(f"{SLUG}_test_")
    assert parse(key) == ("test", public_id)


def test_no_two_keys_are_alike() -> None:
    keys = [new_key("production") for _ in range(200)]

    assert len({key for key, _ in keys}) == len({public_id for _, public_id in keys}) == 200


def test_every_base62_digit_is_used() -> None:
    random_parts = "".join(new_key("production")[0].rpartition("_")[2] for _ in range(100))

    assert set(random_parts) == set(BASE62) == set(string.digits + string.ascii_letters)


def test_every_changed_character_is_noticed() -> None:
    key, _ = new_key("production")

    for place, letter in enumerate(key):
        other = "1" if letter == "0" else "0"
        assert parse(key[:place] + other + key[place + 1 :]) is None


@pytest.mark.parametrize(("text", "crc"), [("", 0), ("123456789", 0xCBF43926), ("a", 0xE8B7BE43)])
def test_the_checksum_is_crc_32_in_base62(text: str, crc: int) -> None:
    value = 0
    for digit in checksum(text):
        value = value * 62 + BASE62.index(digit)

    assert value == crc
    assert len(checksum(text)) == CHECKSUM_LENGTH


@pytest.mark.parametrize(
    "odd",
    ["", "x", "_", f"{SLUG}_live_", "rt_" + "a" * 43, "é" * 80, "\0", "\uff21" * 77, "\u0663" * 77],
)
def test_a_malformed_key_is_not_parsed(odd: str) -> None:
    assert parse(odd) is None


@pytest.mark.parametrize("spelling", [" {}", "{}\n", "{} ", "x{}", "{}="])
def test_a_key_has_one_spelling(spelling: str) -> None:
    key, _ = new_key("production")

    assert parse(spelling.format(key)) is None
    assert parse(key.upper()) is None


def test_a_text_that_only_begins_like_a_key_is_not_parsed() -> None:
    key, _ = new_key("production")

    assert parse(key + "a" * 10_000) is None


def test_the_published_pattern_finds_a_key_and_no_random_hex() -> None:
    found = re.search(
        r"^    (\S*_\(live\|test\)_\S+)$", (ROOT / "docs/security/operations.md").read_text(), re.MULTILINE
    )
    assert found, "operations.md publishes the pattern for secret scanners"

    assert re.search(found[1], f"key = '{new_key('production')[0]}'")
    assert not re.search(found[1], "0123456789abcdef" * 8)
