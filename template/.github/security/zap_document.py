"""The OpenAPI document as ZAP gets it: with a value for everything, so that requests reach what they are meant for.

ZAP sends what a parameter or a body names as its example, and makes up the rest ("John Doe"), which a strict service
refuses. Values of your own come first: `Path(examples=[…])`, `Field(examples=[…])`, `openapi_examples`. An id in a
path is that of a resource made for this operation alone: `POST /notes` answers the id for `DELETE /notes/{note_id}`.
"""

import copy
import re
import secrets
import uuid
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from zap_judge import Operation

JSON, FORM = "application/json", "application/x-www-form-urlencoded"
FORMATS: dict[str, Callable[[], str]] = {
    "uuid": lambda: str(uuid.uuid4()),
    "date-time": lambda: "2030-01-31T12:00:00Z",
    "date": lambda: "2030-01-31",
    "time": lambda: "12:00:00Z",
    "duration": lambda: "PT1H",
    "email": lambda: f"{secrets.token_hex(4)}@example.com",
    "uri": lambda: "https://example.com/",
    "ipv4": lambda: "192.0.2.1",
    "ipv6": lambda: "2001:db8::1",
}

Create = Callable[[str, Any], str | None]
"""POST a body to a path; the id that the answer holds."""


class Document:
    """One document, which is filled in."""

    def __init__(self, document: Mapping[str, Any], examples: Mapping[Operation, Mapping[str, Any]]) -> None:
        self.given = document
        self.filled = copy.deepcopy(dict(document))
        self.examples = examples
        self.left_out: list[str] = []

    def fill(self, server: str, create: Create) -> dict[str, Any]:
        self.filled["servers"] = [{"url": server}]
        # ZAP keeps the order, and what deletes a collection must not come before what needs one of its ids.
        self.filled["paths"] = dict(sorted(self.filled["paths"].items(), key=lambda item: -item[0].count("{")))
        for path, item in self.filled["paths"].items():
            for method, operation in item.items():
                known = dict(self.examples.get((method.upper(), path), {}))
                self._fill_parameters(
                    operation, f"{method.upper()} {path}", known | dict(self._ids(path, create, known))
                )
                self._fill_body(operation, known)
        return self.filled

    def _ids(self, path: str, create: Create, known: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
        """An id for each parameter of a path whose collection can be posted to."""
        template = actual = ""
        for part in path.strip("/").split("/"):
            value: str | None = part
            if part.startswith("{"):
                name = part.strip("{}")
                value = known.get(name) or self._created(template, actual, create)
                if value is None:
                    return
                yield name, value
            template, actual = f"{template}/{part}", f"{actual}/{value}"

    def _created(self, template: str, actual: str, create: Create) -> str | None:
        post = self.given["paths"].get(template, {}).get("post")
        if post is None:
            return None
        known = self.examples.get(("POST", template), {})
        return create(actual, self._body(post, known) if "requestBody" in post else None)

    def _fill_parameters(self, operation: dict[str, Any], name: str, known: Mapping[str, Any]) -> None:
        kept = []
        for parameter in operation.get("parameters", []):
            schema = parameter.get("schema", {})
            own = _own_example(parameter)
            value = known.get(parameter["name"], self.value(schema) if own is None else own)
            if value is None and not parameter.get("required"):
                self.left_out.append(
                    f"{name}: {parameter['name']} has a pattern; give it an example to have it attacked"
                )
                continue
            parameter.pop("examples", None)
            kept.append(parameter | {"example": value})
        if "parameters" in operation:
            operation["parameters"] = kept

    def _fill_body(self, operation: dict[str, Any], known: Mapping[str, Any]) -> None:
        content = operation.get("requestBody", {}).get("content", {})
        if JSON in content:
            content[JSON] = content[JSON] | {"example": self._body(operation, known)}
            content[JSON].pop("examples", None)
        elif FORM in content:  # here ZAP looks at each field
            schema = self.resolved(content[FORM].get("schema", {}))
            fields = self._object(schema, known)
            filled = {
                field: self.resolved(schema["properties"][field]) | {"example": fields[field]} for field in fields
            }
            content[FORM] = {"schema": {"type": "object", "properties": filled}}

    def _body(self, operation: Mapping[str, Any], known: Mapping[str, Any]) -> Any:
        media = operation["requestBody"]["content"].get(JSON, {})
        own = _own_example(media)
        if own is not None:
            return own
        schema = self.resolved(media.get("schema", {}))
        return self._object(schema, known) if "properties" in schema else self.value(schema)

    def resolved(self, schema: Mapping[str, Any]) -> dict[str, Any]:
        """What a reference leads to, the first of several shapes, and all of what belongs together."""
        if "$ref" in schema:
            name = schema["$ref"].rpartition("/")[2]
            return self.resolved(self.given["components"]["schemas"][name])
        shapes = [shape for key in ("anyOf", "oneOf") for shape in schema.get(key, []) if shape.get("type") != "null"]
        merged = dict(schema) | (self.resolved(shapes[0]) if shapes else {})
        for part in schema.get("allOf", []):
            merged |= self.resolved(part)
        return merged

    def value(self, schema: Mapping[str, Any]) -> Any:
        """Something that fits; None where only a person knows what does."""
        schema = self.resolved(schema)
        given = [*schema.get("examples", []), *(schema[key] for key in ("example", "const") if key in schema)]
        given += schema.get("enum", [])
        if given:
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
                return self._object(schema, {})
        return _text(schema)

    def _object(self, schema: Mapping[str, Any], known: Mapping[str, Any]) -> dict[str, Any]:
        fields = schema.get("properties", {})
        values = {name: known[name] if name in known else self.value(field) for name, field in fields.items()}
        return {name: value for name, value in values.items() if value is not None}


def _own_example(place: Mapping[str, Any]) -> Any:
    """What the project gives as an example of a parameter or a body."""
    named = [example["value"] for example in place.get("examples", {}).values() if "value" in example]
    return place.get("example", named[0] if named else None)


def _text(schema: Mapping[str, Any]) -> str | None:
    if schema.get("format") in FORMATS:
        return FORMATS[schema["format"]]()
    longest, word = schema.get("maxLength", 64), f"scan{secrets.token_hex(4)}"
    text = word.ljust(schema.get("minLength", 0), "x")[:longest]
    candidates = [text, "scan", "a", "A", "1", "10", "anonymous", str(uuid.uuid4())]
    return next((one for one in candidates if re.search(schema.get("pattern", ""), one)), None)
