"""authlib | one line | `SessionMiddleware` for the state; the callback calls `issue_tokens`: see
[external login](how-to/external-login.md)
"""

from authlib.integrations.starlette_client import OAuth
from fastapi import FastAPI
from starlette.middleware.sessions import SessionMiddleware
from starlette.requests import Request
from starlette.responses import Response

from app.security.identity import public
from tests.security.build_app import assemble
from tests.security.fixtures import MakeClient

PACKAGES = ["authlib", "itsdangerous", "httpx"]
oauth = OAuth()
oauth.register(
    "provider",
    client_id="an id",
    client_secret="a secret",
    authorize_url="https://provider.example.com/authorize",
    access_token_url="https://provider.example.com/token",
)


async def log_in(request: Request) -> Response:
    response: Response = await oauth.provider.authorize_redirect(request, "https://api.example.com/callback")
    return response


def add(app: FastAPI) -> None:
    app.get("/login", dependencies=[public])(log_in)
    app.add_middleware(SessionMiddleware, secret_key="x" * 32)


def test_a_login_is_sent_to_the_provider(make_client: MakeClient) -> None:
    client = make_client(build=lambda: assemble(add))

    response = client.get("/login", follow_redirects=False)

    assert response.headers["location"].startswith("https://provider.example.com/authorize?")
    assert "state=" in response.headers["location"]
    assert "session" in response.cookies
