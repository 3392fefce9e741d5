"""How many files a reader opens to follow one request. A raise needs a decision record."""

import sys
from collections.abc import Callable
from typing import Any

from starlette.testclient import TestClient

from app.security.core.settings import ROOT
from tests.security.fixtures import MakeClient
from tests.security.persons import Person, log_in


def entered(client: TestClient, call: Callable[[], Any]) -> set[str]:
    """The files of `app/` in which the event loop calls a function during this call."""
    found: set[str] = set()
    folder = f"{ROOT / 'app'}/"

    def note(frame: Any, event: str, value: object) -> None:
        if event == "call" and frame.f_code.co_filename.startswith(folder):
            found.add(frame.f_code.co_filename.removeprefix(folder))

    async def profile(function: Any) -> None:
        sys.setprofile(function)

    assert client.portal is not None
    client.portal.call(profile, note)
    assert call().status_code == 200
    client.portal.call(profile, None)
    return found


def test_a_cached_request_enters_few_files(make_client: MakeClient, as_person: Callable[..., Person]) -> None:
    person = as_person(client=make_client(AUTH_CACHE_SECONDS="5"))
    person.get("/notes")

    assert len(entered(person, lambda: person.get("/notes"))) <= 16


def test_a_login_enters_few_files(make_client: MakeClient, as_person: Callable[..., Person]) -> None:
    person = as_person(client=make_client())

    assert len(entered(person, lambda: log_in(person, person.name))) <= 26
