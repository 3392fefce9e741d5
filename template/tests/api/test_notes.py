"""The example's tests: what a note's owner may do, and nobody else."""

import pytest
from starlette.testclient import TestClient

from tests.security.callers import AsCaller, CallerClient
from tests.security.timing import at_once


@pytest.fixture
def alice(as_caller: AsCaller) -> CallerClient:
    return as_caller()


@pytest.fixture
def note(alice: CallerClient) -> str:
    answer = alice.post("/notes", json={"title": "Milk", "body": "two bottles"})
    assert answer.status_code == 201
    return str(answer.headers["location"])


def test_nobody_reads_notes_without_saying_who_they_are(client: TestClient) -> None:
    assert client.get("/notes").status_code == 401


def test_a_note_can_be_read_changed_listed_and_deleted_by_its_owner(alice: CallerClient, note: str) -> None:
    assert alice.get(note).json()["body"] == "two bottles"
    assert alice.patch(note, json={"title": "Bread"}).json()["title"] == "Bread"
    assert [found["title"] for found in alice.get("/notes").json()] == ["Bread"]
    assert alice.delete(note).status_code == 204
    assert alice.get(note).status_code == 404


def test_a_note_that_is_changed_and_deleted_at_once_is_gone(alice: CallerClient, note: str) -> None:
    changes = [lambda: alice.patch(note, json={"title": "Bread"}).status_code] * 4

    *changed, deleted = at_once([*changes, lambda: alice.delete(note).status_code])

    assert set(changed) <= {200, 404, 409}
    assert (deleted, alice.get(note).status_code) == (204, 404)


def test_another_callers_note_is_like_none_at_all(as_caller: AsCaller, note: str) -> None:
    bob = as_caller()
    missing = "/notes/00000000-0000-4000-8000-000000000000"

    for method, body in {"GET": None, "PATCH": {"title": "mine now"}, "DELETE": None}.items():
        foreign, none = bob.request(method, note, json=body), bob.request(method, missing, json=body)

        assert foreign.status_code == none.status_code == 404, method
        assert {**foreign.json(), "instance": ""} == {**none.json(), "instance": ""}
    assert bob.get("/notes").json() == []


def test_pages_follow_each_other_without_gap(alice: CallerClient) -> None:
    made = {alice.post("/notes", json={"title": f"note {number}"}).json()["id"] for number in range(5)}

    first = alice.get("/notes", params={"limit": 3}).json()
    second = alice.get("/notes", params={"limit": 3, "after": first[-1]["id"]}).json()

    assert {found["id"] for found in first + second} == made
    assert len(first) == 3
    assert alice.get("/notes", params={"limit": 101}).status_code == 422


def test_a_note_of_another_shape_is_refused(alice: CallerClient) -> None:
    for body in ({"title": ""}, {"title": "x" * 201}, {"title": "x", "owner_id": "me"}, {"title": 7}, {}):
        assert alice.post("/notes", json=body).status_code == 422, body


def test_a_credential_for_reading_alone_writes_nothing(as_caller: AsCaller) -> None:
    reader = as_caller(scope="notes:read")

    assert reader.get("/notes").status_code == 200
    assert reader.post("/notes", json={"title": "x"}).status_code == 403
