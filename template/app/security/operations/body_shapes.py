"""Mass assignment: finds request bodies that accept unknown members or unbounded strings (ASVS 5.0 V15.3.3).

The template's own bodies accept neither; `manage doctor` names those of yours that do.
"""

from collections.abc import Iterator
from typing import Any

from fastapi import FastAPI
from sqlalchemy.ext.asyncio import AsyncSession

from app.security.access.policy import Policies, hooks_of

Document = dict[str, Any]
BOUNDS = {"maxLength", "enum", "const", "format", "pattern"}


def loose_bodies(document: Document) -> Iterator[str]:
    """One line for each unknown member or unbounded string that the model of a request body accepts."""
    schemas = document.get("components", {}).get("schemas", {})
    for name in sorted({name for name in _bodies(document) if not name.startswith("Body_")}):  # FastAPI made those
        schema = schemas[name]
        if schema.get("type") == "object" and schema.get("additionalProperties") is not False:
            yield f'{name} accepts unknown members: add model_config = ConfigDict(extra="forbid")'
        for member, shape in schema.get("properties", {}).items():
            if any(_is_unbounded(kind) for kind in (shape, *shape.get("anyOf", ()))):
                yield f"{name}.{member} has no max_length: add Field(max_length=…)"


def _bodies(document: Document) -> Iterator[str]:
    for methods in document.get("paths", {}).values():
        for operation in methods.values():
            for content in operation.get("requestBody", {}).get("content", {}).values():
                if reference := content.get("schema", {}).get("$ref"):
                    yield reference.rpartition("/")[2]


def _is_unbounded(kind: Document) -> bool:
    return kind.get("type") == "string" and BOUNDS.isdisjoint(kind)


def install(app: FastAPI) -> None:
    async def hint(db: AsyncSession, policies: Policies) -> list[str]:
        return list(loose_bodies(app.openapi()))

    hooks_of(app).hints.append(hint)
