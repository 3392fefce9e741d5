"""Who scans: an administrator who is logged in, or a program with a key; and what only such a caller can fill in.

The log-ins are made in the database and not over HTTP: an attack that guesses passwords, or changes one, must not lock
the scan out.
"""

import secrets
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from fastapi import FastAPI
from sqlalchemy.ext.asyncio import AsyncSession
from zap_forwarder import Credential
from zap_judge import Operation

from app.security.access import accounts
from app.security.access.policy import Policies
from app.security.core.tables import Account
from app.security.operations.terminal import run

# Each stands in its condition.
# isort: off
# {% if features.jwt.enabled %}
from app.security.administration import invitations
from app.security.authentication import passwords, sessions, token_answers

# {% endif %}
# {% if not features.jwt.enabled %}
from app.security.keys import store as key_store
# {% endif %}
# isort: on

PASSWORD, NEXT_PASSWORD = secrets.token_urlsafe(24), secrets.token_urlsafe(24)
LogIn = Callable[[], Credential]
Examples = dict[Operation, dict[str, Any]]


# {% if features.jwt.enabled %}
async def _person(db: AsyncSession, *roles: str) -> Account:
    hasher = passwords.PasswordHasher(passwords.PasswordSettings.current(), ())
    name = f"{secrets.token_hex(4)}@example.com"
    return await accounts.create(db, name, password_hash=await hasher.hash(PASSWORD), roles=roles)


async def _session(db: AsyncSession, account: Account) -> sessions.Grant:
    return await sessions.start(db, account, sessions.Client(address="192.0.2.1", user_agent="zap_scan.py"), None)


def _administrator(policies: Policies) -> tuple[Account, LogIn]:
    """A person with every role, who logs in anew each time: the scan ends sessions."""
    roles = {role for policy in policies.all for group in policy.roles for role in group}
    account = run(lambda db: _person(db, *sorted(roles)))

    async def token(db: AsyncSession) -> str:
        known = await db.get_one(Account, account.id)  # a changed password ends every token before it
        grant = await _session(db, known)
        scopes = frozenset(policies.scopes())
        return token_answers.access_token_for(grant.session, known.token_version, grant.roles, scopes).access_token

    return account, lambda: ("Authorization", f"Bearer {run(token)}")


def _of_people(scopes: list[str], account: Account) -> Examples:
    async def made(db: AsyncSession) -> tuple[str, str, str]:
        invited, guest = await _person(db), await _person(db)
        other = await _session(db, await db.get_one(Account, account.id))
        refresh_token = (await _session(db, guest)).refresh_token
        return await invitations.invite(db, invited), refresh_token, str(other.session.id)

    activation, refresh_token, session = run(made)
    # ZAP sends every field of a form, and its own word for a password: so the form is one that reads none.
    form = {"grant_type": "refresh_token", "refresh_token": refresh_token, "username": "guest", "password": "ZAP"}
    change = {"current_password": PASSWORD, "new_password": NEXT_PASSWORD}
    keeping = {"keep_other_sessions": True, "keep_api_keys": True}
    return {
        ("POST", "/auth/activate"): {"token": activation, "password": NEXT_PASSWORD},
        ("POST", "/auth/token"): form | {"scope": " ".join(scopes)},
        ("POST", "/auth/revoke"): {"token": "unknown", "token_type_hint": "refresh_token"},
        ("DELETE", "/auth/sessions/{session_id}"): {"session_id": session},
        ("POST", "/users/me/password"): change | keeping,
        ("POST", "/api-keys"): {"scopes": scopes[:40]},
    }


# {% endif %}
# {% if not features.jwt.enabled %}
def _program(policies: Policies) -> tuple[Account, LogIn]:
    """A service account, whose key may do everything."""
    day = timedelta(days=1)

    async def issue(db: AsyncSession) -> tuple[Account, str]:
        account = await accounts.create(db, secrets.token_hex(4), kind="service")
        return account, (await key_store.issue(db, account.id, "scan", policies.scopes(), day)).text

    account, key = run(issue)
    return account, lambda: ("X-API-Key", key)


# {% endif %}
def scanner(app: FastAPI) -> tuple[Account, LogIn]:
    """An account that may do everything, and how it says who it is."""
    # {% if features.jwt.enabled %}
    return _administrator(Policies(app))
    # {% endif %}
    # {% if not features.jwt.enabled %}
    return _program(Policies(app))
    # {% endif %}


def examples(app: FastAPI, account: Account) -> Examples:
    """What some routes need, by the names of their parameters or fields: each is good for one 2xx."""
    found: Examples = {}
    # {% if features.jwt.enabled %}
    found |= _of_people(Policies(app).scopes(), account)
    # {% endif %}
    return found
