"""What a route declares about its parameters and its body, read from FastAPI's description (`APIRoute.dependant`)."""

from collections.abc import Iterator
from typing import Any

from fastapi import params
from pydantic import TypeAdapter
from pydantic.errors import PydanticUserError

JSON = ("application/json",)
FORMS = ("application/x-www-form-urlencoded", "multipart/form-data")
KINDS = ("path_params", "query_params", "header_params", "cookie_params", "body_params")
Schema = dict[str, Any]


def media_types(dependant: Any) -> tuple[str, ...]:
    """Forms only where the route declares `Form()`, files only where it declares `File()`, JSON everywhere else."""
    kinds = {type(field.field_info) for field in _fields(dependant, "body_params")}
    if any(issubclass(kind, params.File) for kind in kinds):
        return FORMS[1:]
    return FORMS if any(issubclass(kind, params.Form) for kind in kinds) else JSON


def single_query_names(dependant: Any) -> frozenset[str]:
    """Query parameters that take one value, those of a model in `Query()` among them."""
    found: set[str] = set()
    for field in _fields(dependant, "query_params"):
        schema = _schema(field)
        members = schema.get("properties") or {field.alias: schema}
        found.update(name for name, member in members.items() if not _is_list(member))
    return frozenset(found)


def known_names(dependant: Any) -> frozenset[str]:
    """The names that the route declares. The sender chose any other, and may have sent a secret in the wrong place."""
    found: set[str] = set()
    for kind in KINDS:
        for field in _fields(dependant, kind):
            schema = _schema(field)
            models = [schema, *schema.get("$defs", {}).values()]
            found |= {field.alias, *(name for model in models for name in model.get("properties", ()))}
    return frozenset(found)


def _fields(dependant: Any, kind: str) -> Iterator[Any]:
    if dependant is not None:
        yield from getattr(dependant, kind)
        for dependency in dependant.dependencies:
            yield from _fields(dependency, kind)


def _schema(field: Any) -> Schema:
    try:
        return TypeAdapter(field.field_info.annotation).json_schema()
    except PydanticUserError:  # a type that JSON Schema cannot describe
        return {}


def _is_list(member: Schema) -> bool:
    return any(kind.get("type") == "array" for kind in (member, *member.get("anyOf", ())))
