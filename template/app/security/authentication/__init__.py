"""Authentication of people: the OAuth2 password grant, access tokens, sessions, and the login throttle.

Read `login.py` first: it is the order in which a login is checked. `routes.py` is its HTTP side. The settings and
numbers of passwords, tokens, sessions and the throttle are at the top of the modules of that name.
"""

from fastapi import FastAPI

from app.security.authentication import recent_login, routes
from app.security.authentication.login import PasswordLogin
from app.security.authentication.passwords import PasswordHasher, PasswordSettings
from app.security.authentication.tokens import BearerToken


def install(app: FastAPI) -> None:
    app.state.credentials.kinds.append(BearerToken())
    app.state.passwords = PasswordHasher(PasswordSettings.current(), app.title)
    app.state.password_login = PasswordLogin(app.state.database, app.state.passwords)
    app.state.hooks.checks.append(recent_login.unconfirmed)
    app.routes.extend(routes.router.routes)
