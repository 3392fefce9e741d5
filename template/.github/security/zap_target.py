"""What OWASP ZAP attacks: the app behind a simulated proxy, as one caller, and the OpenAPI document with examples.

zap_scan.py serves `zap_target:Proxy`; ZAP_SCAN says whether it sends a credential.
"""

import asyncio
import json
import os
import re
import secrets
import sys
from collections.abc import Iterator, Mapping
from copy import deepcopy
from typing import Any
from uuid import uuid4

import httpx2
from sqlalchemy.ext.asyncio import AsyncSession
from starlette.types import Message, Receive, Scope, Send
from zap_judge import CLIENTS

from app.main import app as service
from app.security.access import accounts
from app.security.access.policy import Policies
from app.security.operations.terminal import run

# isort: off
# {% if features.jwt.enabled %}
from app.security.authentication import routes, sessions
from app.security.authentication.throttle import Client

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


# Not over HTTP, so that an attack on passwords or sessions cannot end the scan.
async def log_in(db: AsyncSession) -> tuple[bytes, bytes]:
    """A new credential, as a header, of an account with every right. A DELETE /users/me may have ended the last one."""
    account = await accounts.find_account(db, NAME)
    # {% if features.jwt.enabled %}
    if account is None:
        roles = {role for policy in Policies(service).all for group in policy.roles for role in group}
        account = await accounts.create(db, NAME, roles=roles)
    grant = await sessions.start(db, account, Client(address="192.0.2.1", user_agent="ZAP"), None)
    token = routes.token_response(grant, frozenset(Policies(service).scopes()))
    return b"authorization", f"Bearer {token.access_token}".encode()
    # {% endif %}
    # {% if not features.jwt.enabled %}
    account = account or await accounts.create(db, NAME, kind="service")
    key = await key_store.issue(db, account.id, "scan", Policies(service).scopes(), timedelta(days=1))
    return b"x-api-key", key.text.encode()
    # {% endif %}


class Proxy:
    """Sends what a proxy would (https and the client's address), a credential, and the Origin of a foreign page."""

    def __init__(self) -> None:
        self.scan = os.environ["ZAP_SCAN"]
        self.credential: tuple[bytes, bytes] | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await service(scope, receive, send)
            return
        if self.scan == "authenticated" and not self.credential:
            self.credential = await asyncio.to_thread(run, log_in)
        given = {name for name, _ in scope["headers"]}
        added = [(b"x-forwarded-proto", b"https"), (b"x-forwarded-for", CLIENTS[self.scan].encode())]
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

        await service({**scope, "headers": [*scope["headers"], *added]}, receive, watch)


class Document:
    """The OpenAPI document with an example for everything, since ZAP makes up the rest and gets 422.

    The project's own examples win: `Path(examples=[…])`, `Field(examples=[…])`, `openapi_examples`. A path parameter
    is the id of a new resource where its collection has a POST: `POST /notes` for `DELETE /notes/{note_id}`.
    """

    def __init__(self, server: str) -> None:
        self.server = server
        self.given = service.openapi()

    def filled(self) -> dict[str, Any]:
        document: dict[str, Any] = deepcopy(self.given) | {"servers": [{"url": self.server}]}
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
                value = self._create(actual, self._body(post)) if post else None
                if value is None:
                    return
                yield part[1:-1], value
            template, actual = f"{template}/{part}", f"{actual}/{value}"

    def _create(self, path: str, body: Any) -> str | None:
        """POST a resource; its id."""
        response = httpx2.post(f"{self.server}{path}", json=body, timeout=30, trust_env=False)
        created = response.json() if response.status_code in (200, 201) and response.content else None
        return str(created["id"]) if isinstance(created, dict) and "id" in created else None

    def _fill_parameters(self, operation: dict[str, Any], ids: Mapping[str, Any]) -> None:
        for parameter in list(operation.get("parameters", [])):
            value = ids.get(parameter["name"], self._example(parameter))
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
        return self._example(operation.get("requestBody", {}).get("content", {}).get(JSON, {}))

    def _example(self, place: Mapping[str, Any]) -> Any:
        """The project's own of a parameter or a body, else a value for its schema."""
        named = [example["value"] for example in place.get("examples", {}).values() if "value" in example]
        return place.get("example", named[0] if named else None) or self.value(place.get("schema", {}))

    def value(self, schema: Mapping[str, Any]) -> Any:
        """A valid value; None where a pattern leaves it to a person."""
        given = [*schema.get("examples", []), *(schema[key] for key in ("example", "const") if key in schema)]
        if given := given + schema.get("enum", []):
            return given[0]
        if "$ref" in schema:
            return self.value(self.given["components"]["schemas"][schema["$ref"].rpartition("/")[2]])
        shapes = [shape for key in ("anyOf", "oneOf") for shape in schema.get(key, []) if shape.get("type") != "null"]
        if shapes:
            return self.value(shapes[0])
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


def _text(schema: Mapping[str, Any]) -> str | None:
    word, identity = f"scan{secrets.token_hex(4)}", str(uuid4())
    formats = FORMATS | {"uuid": identity, "email": f"{word}@example.com"}
    if schema.get("format") in formats:
        return formats[schema["format"]]
    bounded = word.ljust(schema.get("minLength", 0), "x")[: schema.get("maxLength", 64)]
    candidates = [bounded, "scan", "a", "A", "1", "10", identity]
    return next((text for text in candidates if re.search(schema.get("pattern", ""), text)), None)
