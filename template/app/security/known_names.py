"""The names that a route gives to its parameters and to the members of its body.

Any other name in a request was chosen by its sender, and may be a secret in the wrong place: no answer repeats it.
"""

from collections.abc import Iterator
from typing import Any

from fastapi.dependencies.models import Dependant
from fastapi.dependencies.utils import get_flat_params

NAMED = ("fields", "choices")  # pydantic-core's schemas of members, and of the tags of a union
NAMES = ("name", "alias", "validation_alias")


def names_of(dependant: Dependant | None) -> frozenset[str]:
    """What is unknown to pydantic's private schemas is missing here, and then is not repeated either."""
    fields = [*get_flat_params(dependant), *_bodies(dependant)] if dependant else []
    found = {field.alias for field in fields}
    for field in fields:
        adapter = getattr(field, "_type_adapter", None)
        found.update(_names(getattr(adapter, "core_schema", None)))
    return frozenset(found)


def _bodies(dependant: Dependant) -> Iterator[Any]:
    yield from dependant.body_params
    for dependency in dependant.dependencies:
        yield from _bodies(dependency)


def _names(schema: Any) -> Iterator[str]:
    if isinstance(schema, dict):
        for key, value in schema.items():
            if key in NAMED and isinstance(value, dict):
                yield from map(str, value)
            yield from _texts(value) if key in NAMES else _names(value)
    elif isinstance(schema, (list, tuple)):
        for part in schema:
            yield from _names(part)


def _texts(value: Any) -> Iterator[str]:
    """An alias may be a list of ways to where it stands."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, (list, tuple)):
        for part in value:
            yield from _texts(part)
