"""What the throttle keeps: bounded rows, without a name or an address in them."""

import pytest
from sqlalchemy import Connection, event, text
from starlette.testclient import TestClient

from app.security.authentication import throttle
from tests.security.authentication.throttle_helpers import ALICE, From, at, guesses, service
from tests.security.fixtures import Database
from tests.security.persons import log_in
from tests.security.timing import later

__all__ = ["at", "service"]  # fixtures


def test_rows_of_anonymous_buckets_are_bounded(service: TestClient, at: From, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(throttle, "MAX_ANONYMOUS_BUCKETS", 6)
    monkeypatch.setattr(throttle, "EVICT_EVERY", 1)
    guesses(at("203.0.113.200"), 5)

    for number in range(1, 9):
        log_in(at(f"203.0.113.{number}"), f"nobody{number}", "wrong")

    database = Database(service)
    of_nobody = database.rows("SELECT count(*) FROM throttle_buckets WHERE NOT permanent")[0][0]
    assert of_nobody <= 6 + 4  # the last login adds its own
    assert guesses(at("203.0.113.200"), 1) == [429]  # a flood of made-up names frees nobody's account


def test_a_client_that_returns_after_a_long_time_is_counted_anew(
    service: TestClient, at: From, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(throttle, "EVICT_EVERY", 1)
    guesses(at("203.0.113.1"), 1, "nobody")

    with later(days=31):
        assert guesses(at("203.0.113.1"), 6, "nobody") == [400] * 5 + [429]


def test_a_refused_attempt_leaves_no_row_that_stays(service: TestClient, at: From) -> None:
    for number in range(1, 21):
        guesses(at(f"203.0.113.{number}"), 1)
    of_accounts = "SELECT count(*) FROM throttle_buckets WHERE permanent"
    before = Database(service).rows(of_accounts)

    assert [guesses(at(f"203.0.113.{number}"), 1) for number in range(30, 40)] == [[429]] * 10

    assert Database(service).rows(of_accounts) == before


def test_a_row_that_somebody_drops_before_it_is_held_is_made_again(service: TestClient, at: From) -> None:
    dropped: list[int] = []

    def drop_once(connection: Connection, cursor: object, statement: str, *_: object) -> None:
        if statement.startswith("INSERT INTO throttle_buckets") and not dropped:
            dropped.append(connection.execute(text("DELETE FROM throttle_buckets")).rowcount)

    event.listen(service.app.state.database.engine.sync_engine, "after_cursor_execute", drop_once)  # type: ignore[attr-defined]

    assert guesses(at("203.0.113.1"), 6) == [400] * 5 + [429]
    assert dropped[0] > 0


def test_the_table_tells_neither_names_nor_addresses(service: TestClient, at: From) -> None:
    log_in(at("203.0.113.1"), ALICE, "wrong")
    log_in(at("203.0.113.1"), ALICE)

    rows = Database(service).rows("SELECT * FROM throttle_buckets") + Database(service).rows(
        "SELECT * FROM known_addresses"
    )

    assert "203.0.113" not in repr(rows)
    assert "alice" not in repr(rows)
