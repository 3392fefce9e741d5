"""Which bodies take more than they name: ours never do, and `manage doctor` says where yours do (ASVS 5.0 V15.3.3)."""

from collections.abc import Iterator
from typing import Any

from fastapi import FastAPI
from sqlalchemy.ext.asyncio import AsyncSession

from app.security.access.policy import Policies, hooks_of

Document = dict[str, Any]


def loose_bodies(document: Document) -> Iterator[str]:
    """One line for each model of a request body that lets in unknown members or texts without an end."""
    schemas = document.get("components", {}).get("schemas", {})
    for name in sorted({name for name in _bodies(document) if not name.startswith("Body_")}):  # those FastAPI made up
        schema = schemas[name]
        if schema.get("type") == "object" and schema.get("additionalProperties") is not False:
            yield f'{name} takes members that it does not name: model_config = ConfigDict(extra="forbid")'
        for member, shape in schema.get("properties", {}).items():
            if any(_is_endless(kind) for kind in (shape, *shape.get("anyOf", ()))):
                yield f"{name}.{member} has no longest length: Field(max_length=…)"


def _bodies(document: Document) -> Iterator[str]:
    for methods in document.get("paths", {}).values():
        for operation in methods.values():
            for content in operation.get("requestBody", {}).get("content", {}).values():
                reference = content.get("schema", {}).get("$ref")
                if reference:
                    yield reference.rpartition("/")[2]


def _is_endless(kind: Document) -> bool:
    bounds = ("maxLength", "enum", "const", "format", "pattern")
    return kind.get("type") == "string" and not any(bound in kind for bound in bounds)


def install(app: FastAPI) -> None:
    async def say(db: AsyncSession, policies: Policies) -> list[str]:
        return list(loose_bodies(app.openapi()))

    hooks_of(app).hints.append(say)
