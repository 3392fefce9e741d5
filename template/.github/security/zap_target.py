"""What OWASP ZAP attacks: the app behind a simulated proxy, as one caller, and the OpenAPI document with examples.

zap_scan.py serves `zap_target:app`; ZAP_CLIENT is the address of the scan, ZAP_ACCOUNT the account whose credential it
sends, if any.
"""

import asyncio
import json
import os
import re
import secrets
import sys
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy.ext.asyncio import AsyncSession
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.main import app as service
from app.security.access import accounts
from app.security.access.policy import Policies
from app.security.operations.terminal import run

# isort: off
# {% if features.jwt.enabled %}
from app.security.authentication import routes, sessions
from app.security.authentication.throttle import Client
from app.security.core.tables import Account

# {% endif %}
# {% if not features.jwt.enabled %}
from datetime import timedelta
from app.security.keys import store as key_store
# {% endif %}
# isort: on

NAME = "scan@example.com"
FOREIGN = b"https://foreign-page.invalid"  # RFC 6761
JSON, FORM = "application/json", "application/x-www-form-urlencoded"
FORMATS = {"date-time": "2030-01-31T12:00:00Z", "date": "2030-01-31", "uri": "https://example.com/"}
Create = Callable[[str, Any], str | None]  # POST a body to a path: the id in the response


# Not over HTTP, so that an attack on passwords or sessions cannot end the scan.
async def create_account(db: AsyncSession) -> UUID:
    """An account with every right."""
    # {% if features.jwt.enabled %}
    roles = sorted({role for policy in Policies(service).all for group in policy.roles for role in group})
    return (await accounts.create(db, NAME, roles=roles)).id
    # {% endif %}
    # {% if not features.jwt.enabled %}
    return (await accounts.create(db, "scan", kind="service")).id
    # {% endif %}


async def log_in(db: AsyncSession, account: UUID) -> tuple[bytes, bytes]:
    """A new credential of this account, as a header."""
    scopes = Policies(service).scopes()
    # {% if features.jwt.enabled %}
    # DELETE /users/me may have been called, so there may be another account by now.
    if (known := await accounts.find_account(db, NAME)) is None:
        known = await db.get_one(Account, await create_account(db))
    client = Client(address="192.0.2.1", user_agent="ZAP")
    grant = await sessions.start(db, known, client, None)
    token = routes.token_response(grant, frozenset(scopes))
    return b"authorization", f"Bearer {token.access_token}".encode()
    # {% endif %}
    # {% if not features.jwt.enabled %}
    key = await key_store.issue(db, account, "scan", scopes, timedelta(days=1))
    return b"x-api-key", key.text.encode()
    # {% endif %}


class Proxy:
    """Sends what a proxy would (https and the client's address), a credential, and the Origin of a foreign page."""

    def __init__(self, app: ASGIApp, client: str, account: str) -> None:
        self.app = app
        self.client = client.encode()
        self.account = UUID(account) if account else None
        self.credential: tuple[bytes, bytes] | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        if self.account and not self.credential:
            self.credential = await asyncio.to_thread(run, partial(log_in, account=self.account))
        given = {name for name, _ in scope["headers"]}
        added = [(b"x-forwarded-proto", b"https"), (b"x-forwarded-for", self.client)]
        if self.credential and given.isdisjoint({b"authorization", b"x-api-key"}):
            added.append(self.credential)
        if b"origin" not in given:
            added.append((b"origin", FOREIGN))

        async def watch(message: Message) -> None:
            if message.get("status") == 401:  # an attack ended the session, or the token has expired
                self.credential = None
            if dict(message.get("headers", [])).get(b"access-control-allow-origin") in (FOREIGN, b"*"):
                event = {"event": "foreign_origin", "place": f"{scope['method']} {scope['path']}"}
                sys.stdout.write(f"{json.dumps(event)}\n")
            await send(message)

        await self.app({**scope, "headers": [*scope["headers"], *added]}, receive, watch)


app = Proxy(service, os.environ.get("ZAP_CLIENT", ""), os.environ.get("ZAP_ACCOUNT", ""))


class Document:
    """The OpenAPI document with an example for everything, since ZAP makes up the rest and gets 422.

    The project's own examples win: `Path(examples=[…])`, `Field(examples=[…])`, `openapi_examples`. A path parameter
    is the id of a new resource where its collection has a POST: `POST /notes` for `DELETE /notes/{note_id}`.
    """

    def __init__(self, document: dict[str, Any], create: Create) -> None:
        self.given = document
        self.create = create

    def filled(self, server: str) -> dict[str, Any]:
        document: dict[str, Any] = json.loads(json.dumps(self.given)) | {"servers": [{"url": server}]}
        # ZAP keeps this order: a DELETE of a collection must not come before what needs one of its ids.
        paths = sorted(document["paths"].items(), key=lambda item: -item[0].count("{"))
        for path, item in paths:
            for operation in item.values():
                self._fill_parameters(operation, dict(self._ids(path)))
                self._fill_body(operation)
        return document | {"paths": dict(paths)}

    def _ids(self, path: str) -> Iterator[tuple[str, str]]:
        template = actual = ""
        for part in path.strip("/").split("/"):
            value: str | None = part
            if part.startswith("{"):
                post = self.given["paths"].get(template, {}).get("post")
                value = self.create(actual, self._body(post)) if post else None
                if value is None:
                    return
                yield part[1:-1], value
            template, actual = f"{template}/{part}", f"{actual}/{value}"

    def _fill_parameters(self, operation: dict[str, Any], ids: Mapping[str, Any]) -> None:
        for parameter in list(operation.get("parameters", [])):
            value = ids.get(parameter["name"], _own_example(parameter) or self.value(parameter.get("schema", {})))
            if value is None and not parameter.get("required"):
                operation["parameters"].remove(parameter)  # has a pattern
            parameter.pop("examples", None)
            parameter["example"] = value

    def _fill_body(self, operation: dict[str, Any]) -> None:
        content = operation.get("requestBody", {}).get("content", {})
        if JSON in content:
            content[JSON] = {"schema": content[JSON].get("schema", {}), "example": self._body(operation)}
        elif FORM in content:  # here ZAP reads the example of each field
            values = self.value(content[FORM]["schema"])
            fields = {name: {"type": "string", "example": value} for name, value in values.items()}
            content[FORM] = {"schema": {"type": "object", "properties": fields}}

    def _body(self, operation: Mapping[str, Any]) -> Any:
        media = operation.get("requestBody", {}).get("content", {}).get(JSON, {})
        return _own_example(media) or self.value(media.get("schema", {}))

    def resolved(self, schema: Mapping[str, Any]) -> dict[str, Any]:
        """The schema behind a reference, with the first alternative of anyOf and oneOf."""
        if "$ref" in schema:
            return self.resolved(self.given["components"]["schemas"][schema["$ref"].rpartition("/")[2]])
        shapes = [shape for key in ("anyOf", "oneOf") for shape in schema.get(key, []) if shape.get("type") != "null"]
        return dict(schema) | (self.resolved(shapes[0]) if shapes else {})

    def value(self, schema: Mapping[str, Any]) -> Any:
        """A valid value; None where a pattern leaves it to a person."""
        schema = self.resolved(schema)
        given = [*schema.get("examples", []), *(schema[key] for key in ("example", "const") if key in schema)]
        if given := given + schema.get("enum", []):
            return given[0]
        match schema.get("type"):
            case "integer" | "number":
                return schema.get("default") or max(schema.get("minimum", 1), schema.get("exclusiveMinimum", 0) + 1)
            case "boolean":
                return schema.get("default", True)
            case "array":
                item = self.value(schema.get("items", {}))
                return [] if item is None else [item] * max(1, schema.get("minItems", 1))
            case "object":
                values = {name: self.value(field) for name, field in schema.get("properties", {}).items()}
                values |= {"scopes": Policies(service).scopes()[:40]} if "scopes" in values else {}
                return {name: value for name, value in values.items() if value is not None}
        return _text(schema)


def _own_example(place: Mapping[str, Any]) -> Any:
    named = [example["value"] for example in place.get("examples", {}).values() if "value" in example]
    return place.get("example", named[0] if named else None)


def _text(schema: Mapping[str, Any]) -> str | None:
    word, identity = f"scan{secrets.token_hex(4)}", str(uuid4())
    formats = FORMATS | {"uuid": identity, "email": f"{word}@example.com"}
    if schema.get("format") in formats:
        return formats[schema["format"]]
    bounded = word.ljust(schema.get("minLength", 0), "x")[: schema.get("maxLength", 64)]
    candidates = [bounded, "scan", "a", "A", "1", "10", identity]
    return next((text for text in candidates if re.search(schema.get("pattern", ""), text)), None)
