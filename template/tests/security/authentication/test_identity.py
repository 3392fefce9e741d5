"""The end of a session holds at once in this process, and after the cached seconds in every other one."""

from collections.abc import Callable

import pytest

from tests.security.persons import PASSWORD, Person

AsPerson = Callable[..., Person]


def log_out(person: Person) -> None:
    assert person.post("/auth/logout").status_code == 204


def end_all(person: Person) -> None:
    assert person.delete("/auth/sessions").status_code == 204


def change_password(person: Person) -> None:
    change = {"current_password": PASSWORD, "new_password": "quite another 9 zebra lamp"}
    assert person.post("/users/me/password", json=change).status_code == 200


RARER = [pytest.param(end, marks=pytest.mark.slow) for end in (end_all, change_password)]
ENDINGS = pytest.mark.parametrize("end", [log_out, *RARER])


@ENDINGS
def test_an_ending_holds_at_once_where_it_happens(as_person: AsPerson, end: Callable[[Person], None]) -> None:
    person = as_person()
    assert person.get("/users/me").status_code == 200

    end(person)

    assert person.get("/users/me").status_code == 401
