"""authlib | two lines | `SessionMiddleware` for the state, and an exception handler for its `OAuthError`, or a forged
`state` is a crash; the callback calls `issue_tokens`: see [external login](how-to/external-login.md)
"""

import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from authlib.integrations.base_client import OAuthError
from authlib.integrations.starlette_client import OAuth
from fastapi import FastAPI, Request, Response
from joserfc import jwt
from joserfc.jwk import RSAKey
from starlette.middleware.sessions import SessionMiddleware

from app.database import DbSession
from app.security.accounts import TokenOut, create_account, find_account, issue_tokens
from app.security.identity import public
from app.security.problems import Problem
from tests.security.build_app import assemble
from tests.security.fixtures import MakeClient

PACKAGES = ["authlib", "itsdangerous", "httpx"]
KEY = RSAKey.generate_key(2048, {"kid": "1"})


class Provider(BaseHTTPRequestHandler):
    """The token endpoint and the keys of an OpenID provider."""

    claims: dict[str, Any] = {}

    def do_GET(self) -> None:
        self.reply({"keys": [KEY.as_dict(private=False)]})

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        id_token = jwt.encode({"alg": "RS256", "kid": "1"}, self.claims, KEY)
        self.reply({"access_token": "x", "token_type": "Bearer", "id_token": id_token})

    def reply(self, document: dict[str, Any]) -> None:
        body = json.dumps(document).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_request(self, code: object = "", size: object = "") -> None: ...


@pytest.fixture
def issuer() -> Iterator[str]:
    with HTTPServer(("127.0.0.1", 0), Provider) as server:
        threading.Thread(target=server.serve_forever).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


async def refuse(request: Request, error: Exception) -> Response:
    raise Problem(400, detail="The login at the provider failed.")


async def log_in(request: Request) -> Response:
    redirect: Response = await request.app.state.provider.authorize_redirect(request, "http://localhost/callback")
    return redirect


async def callback(request: Request, db: DbSession) -> TokenOut:
    subject = (await request.app.state.provider.authorize_access_token(request))["userinfo"]["sub"]
    account = await find_account(db, subject) or await create_account(db, subject)
    return await issue_tokens(request, db, account.id)


def build(issuer: str) -> FastAPI:
    def add(app: FastAPI) -> None:
        app.state.provider = OAuth().register(
            "provider",
            client_id="us",
            client_secret="a secret",
            issuer=issuer,
            authorize_url=f"{issuer}/authorize",
            access_token_url=f"{issuer}/token",
            jwks_uri=f"{issuer}/keys",
            client_kwargs={"scope": "openid"},
        )
        app.add_exception_handler(OAuthError, refuse)
        app.get("/login", dependencies=[public])(log_in)
        app.get("/callback", dependencies=[public])(callback)
        app.add_middleware(SessionMiddleware, secret_key="x" * 32)

    return assemble(add)


def test_a_verified_identity_is_logged_in_and_a_forged_one_is_not(make_client: MakeClient, issuer: str) -> None:
    client = make_client(build=lambda: build(issuer))
    sent = parse_qs(urlsplit(client.get("/login", follow_redirects=False).headers["Location"]).query)
    now = int(time.time())
    Provider.claims = {"iss": issuer, "aud": "us", "sub": "248289", "iat": now, "exp": now + 60}
    Provider.claims["nonce"] = sent["nonce"][0]

    forged = client.get("/callback", params={"code": "1", "state": "forged"})
    tokens = client.get("/callback", params={"code": "1", "state": sent["state"][0]})

    assert forged.status_code == 400
    bearer = {"Authorization": f"Bearer {tokens.json()['access_token']}"}
    assert client.get("/users/me", headers=bearer).json()["name"] == "248289"
