"""Whoever logs in for some scopes alone gets nothing else, on no route, and refreshing widens nothing."""

from collections.abc import Callable

import pytest
from fastapi import APIRouter, FastAPI
from starlette.testclient import TestClient

from app.security.access.identity import Caller, require_scope
from app.security.compose import fastapi_options, secure
from tests.security.build_app import assemble
from tests.security.fixtures import MakeClient
from tests.security.persons import Person, log_in, refresh

AsPerson = Callable[..., Person]
router = APIRouter()


@router.get("/lamps", dependencies=[require_scope("lamps:read")])
async def read_lamps(caller: Caller) -> list[str]:
    return []


@router.post("/lamps", dependencies=[require_scope("lamps:write")])
async def switch_lamps(caller: Caller) -> list[str]:
    return []


@router.delete("/lamps", dependencies=[require_scope("lamps:read"), require_scope("lamps:write")])
async def remove_lamps(caller: Caller) -> list[str]:
    return []


@router.get("/house")
async def read_house(caller: Caller) -> list[str]:
    return []


@pytest.fixture
def lamps(make_client: MakeClient) -> TestClient:
    """A service with two scopes, and a route that names none."""
    app = FastAPI(**fastapi_options())
    app.include_router(router)
    secure(app)
    return make_client(app)


def reach(person: Person) -> list[int]:
    """What each of the four routes answers."""
    calls = [("GET", "/lamps"), ("POST", "/lamps"), ("DELETE", "/lamps"), ("GET", "/house")]
    return [person.request(method, path).status_code for method, path in calls]


def test_a_login_reaches_the_scopes_that_it_requested(lamps: TestClient, as_person: AsPerson) -> None:
    everything = as_person(client=lamps)
    reader = as_person(client=lamps, scope="lamps:read")
    both = as_person(client=lamps, scope="lamps:read lamps:write")

    assert reach(everything) == [200, 200, 200, 200]
    assert reach(reader) == [200, 403, 403, 403]
    assert reach(both) == [200, 200, 200, 403]
    assert reader.tokens["scope"] == "lamps:read"
    assert everything.tokens["scope"] == both.tokens["scope"] == "lamps:read lamps:write"


def test_the_refusal_names_the_scope_that_is_missing(lamps: TestClient, as_person: AsPerson) -> None:
    refused = as_person(client=lamps, scope="lamps:read").post("/lamps")

    challenge = 'Bearer realm="api", error="insufficient_scope", scope="lamps:write"'
    assert refused.status_code == 403
    assert refused.headers["www-authenticate"] == challenge


def test_an_empty_scope_counts_as_left_out(lamps: TestClient, as_person: AsPerson) -> None:
    assert reach(as_person(client=lamps, scope=" ")) == [200, 200, 200, 200]


@pytest.mark.parametrize("scope", ["lamps:burn", "lamps:read lamps:burn", "LAMPS:READ", "*", "lamps:read,lamps:write"])
def test_a_scope_that_no_route_requires_is_refused(lamps: TestClient, as_person: AsPerson, scope: str) -> None:
    answer = log_in(lamps, as_person(client=lamps).name, scope=scope)

    assert answer.status_code == 400
    assert answer.json()["error"] == "invalid_scope"


def test_a_refresh_may_ask_for_less_and_the_next_one_for_everything_again(
    lamps: TestClient, as_person: AsPerson
) -> None:
    person = as_person(client=lamps)

    person.use(refresh(lamps, person.tokens["refresh_token"], scope="lamps:write").json())
    less = reach(person)
    person.use(refresh(lamps, person.tokens["refresh_token"]).json())

    assert less == [403, 200, 403, 403]
    assert reach(person) == [200, 200, 200, 200]


def test_a_refresh_for_more_scopes_than_the_login_is_refused_and_leaves_the_token_unused(
    lamps: TestClient, as_person: AsPerson
) -> None:
    person = as_person(client=lamps, scope="lamps:read")

    wider = refresh(lamps, person.tokens["refresh_token"], scope="lamps:read lamps:write")
    again = refresh(lamps, person.tokens["refresh_token"])

    assert (wider.status_code, wider.json()["error"]) == (400, "invalid_scope")
    assert again.status_code == 200
    assert again.json()["scope"] == "lamps:read"


def test_one_function_behind_two_methods_requires_the_scope_of_each(
    environment: Callable[..., None], make_client: MakeClient, as_person: AsPerson
) -> None:
    def add(app: FastAPI) -> None:
        for method, scope in (("GET", "items:read"), ("DELETE", "items:delete")):
            app.add_api_route("/items", read_house, methods=[method], dependencies=[require_scope(scope)])

    person = as_person(client=make_client(build=lambda: assemble(add)), scope="items:read")

    assert [person.request(method, "/items").status_code for method in ("GET", "DELETE")] == [200, 403]
