"""sqladmin | declared | `secure(app, public={"/admin": [accepts(…), content_security_policy(…)]})`, with sqladmin's own
login (`AuthenticationBackend`): see [pages](how-to/pages.md)
"""

from fastapi import FastAPI
from sqladmin import Admin, ModelView
from sqladmin.authentication import AuthenticationBackend
from starlette.requests import Request

from app.api.notes import Note, router
from app.database import Database
from app.security.compose import fastapi_options, secure
from app.security.request_guard import accepts, content_security_policy
from tests.security.fixtures import MakeClient

PACKAGES = ["sqladmin", "itsdangerous"]
PAGES = content_security_policy("default-src 'self' 'unsafe-inline'; img-src 'self' data:; form-action 'self'")
FORMS = accepts("application/x-www-form-urlencoded", "multipart/form-data")


class Login(AuthenticationBackend):
    async def login(self, request: Request) -> bool:
        form = await request.form()
        request.session["admin"] = form["password"] == "a secret of this test"
        return bool(request.session["admin"])

    async def logout(self, request: Request) -> bool:
        request.session.clear()
        return True

    async def authenticate(self, request: Request) -> bool:
        return bool(request.session.get("admin"))


class NoteView(ModelView, model=Note):
    column_list = ["title"]


def build() -> FastAPI:
    app = FastAPI(**fastapi_options())
    app.include_router(router)
    admin = Admin(app, Database().engine, authentication_backend=Login("x" * 32))
    admin.add_view(NoteView)
    secure(app, public={"/admin": [FORMS, PAGES]})
    return app


def test_its_login_form_is_accepted(make_client: MakeClient) -> None:
    client = make_client(build=build)

    assert client.get("/admin/note/list", follow_redirects=False).status_code == 302
    assert client.post("/admin/login", data={"username": "a", "password": "wrong"}).status_code == 400
    sent = client.post("/admin/login", data={"username": "a", "password": "a secret of this test"})
    assert sent.status_code == 200
    assert client.get("/admin/note/list", follow_redirects=False).status_code == 200
    assert client.get("/admin/statics/css/tabler.min.css").status_code == 200
