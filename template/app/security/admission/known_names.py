"""The names that a route gives to its parameters and to the members of its body.

Any other name in a request was chosen by its sender, and may be a secret in the wrong place: no answer repeats it.
"""

from collections.abc import Iterator
from typing import Any

from fastapi._compat import field_annotation_is_sequence
from fastapi.dependencies.models import Dependant
from fastapi.dependencies.utils import get_flat_params
from pydantic import AliasChoices

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


def single_in(dependant: Dependant | None) -> frozenset[str]:
    """Query parameters that take one value, those that a model in `Query()` names among them."""
    asked = Dependant(query_params=list(_queries(dependant))) if dependant else Dependant()
    single = [
        field for field in get_flat_params(asked) if not field_annotation_is_sequence(field.field_info.annotation)
    ]
    return frozenset(name for field in single for name in _aliases(field))


def _queries(dependant: Dependant) -> Iterator[Any]:
    yield from dependant.query_params
    for dependency in dependant.dependencies:
        yield from _queries(dependency)


def _aliases(field: Any) -> Iterator[str]:
    chosen, config = field.field_info.validation_alias, field.config or {}
    yield chosen if isinstance(chosen, str) else field.alias
    if isinstance(chosen, AliasChoices):
        yield from (name for name in chosen.choices if isinstance(name, str))
    if any(config.get(name) for name in ("validate_by_name", "populate_by_name")):
        yield field.name


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
