"""`manage waf`: rules for ModSecurity and the OWASP Core Rule Set (CRS), generated from the routes.

Two kinds of arguments are exempt from CRS, which blocks many of them: secrets (`SecretStr`, `writeOnly` in the OpenAPI
document) and prose that is declared as `FreeText()`.
"""

import hashlib
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Annotated, Any

import typer
from fastapi import FastAPI

from app.security.access.policy import WEBSOCKET, Policies, Policy
from app.security.admission.request_body import FREE_TEXT
from app.security.admission.request_guard import RequestGuardSettings
from app.security.core.settings import ROOT
from app.security.http import api_docs
from app.security.operations.start_up import WAF_SERVER
from app.security.operations.terminal import fail

RULES, COMMAND, NAMES = "deploy/waf/app.conf", "manage waf", "manage waf --names"
HEADER = "# Written by `{}` from the routes of the app. Change nothing here: run it again."
SWITCHED_ON = "modsecurity on;\nmodsecurity_rules_file /etc/modsecurity.d/modsecurity.conf;"
FIRST_ID = 10_000  # ids below 100,000 are for local use (ModSecurity's manual, "id")
ANY, FOUND = ".*", "APP_OPERATION_FOUND"
LIST_ITEMS = 50  # exemptions name each item of a list, since their targets cannot be patterns
MARKS = (FREE_TEXT, "writeOnly")
Schema = dict[str, Any]


@dataclass
class Operation:
    """One method on one path. `query` and `body` are patterns of names, `exempt` plain names."""

    method: str
    policy: Policy
    max_bytes: int
    query: set[str] = field(default_factory=set)
    body: set[str] = field(default_factory=lambda: {ANY})
    exempt: list[str] = field(default_factory=list)


def operations(app: FastAPI) -> Iterator[Operation]:
    """Every operation, in the order of routing. Raises: ValueError for an argument that cannot be exempt."""
    document, usual = app.openapi(), RequestGuardSettings.current().max_body_bytes
    for policy in Policies(app).all:
        # The API documents are served in development alone, where no firewall stands.
        if policy.path == api_docs.ASSETS or getattr(policy.endpoint, "__module__", "") == api_docs.__name__:
            continue
        sizes = policy.limits.get("max_bytes", usual), policy.limits.get("max_body_size")
        documented = document["paths"].get(re.sub(r"{(\w+):\w+}", r"{\1}", policy.path), {})
        for method in sorted(policy.methods or {"[A-Z]+"}):
            operation = Operation("GET" if method == WEBSOCKET else method, policy, min(filter(None, sizes)))
            if method.lower() in documented:
                _add_arguments(operation, documented[method.lower()], document)
            yield operation


def _add_arguments(operation: Operation, documented: Schema, document: Schema) -> None:
    parameters = [one for one in documented.get("parameters", ()) if one["in"] == "query"]
    operation.query = {re.escape(one["name"]) for one in parameters}
    found = [argument for one in parameters for argument in _arguments(one["schema"], document, one["name"])]
    for media_type, content in documented.get("requestBody", {}).get("content", {}).items():
        found += _arguments(content["schema"], document, "json" if media_type.endswith("json") else "")
    operation.body = set()
    for name, schema, items in found:
        operation.body.add(re.sub(r"\\\*.*", ANY, re.escape(name).replace(r"array_\*", r"array_\d+")))
        if any(schema.get(mark) for mark in MARKS):
            operation.exempt += [one for one in _exempt(operation, name, items) if one not in operation.exempt]


def _arguments(
    schema: Schema, document: Schema, name: str, items: int = 0, inside: tuple[str, ...] = ()
) -> Iterator[tuple[str, Schema, int]]:
    """The name of each part in ModSecurity, such as json.lines.array_*.text, its schema, and the length of its list.

    `*` alone stands for members of any name, and for what a model holds that contains itself.
    """
    marks = {mark: schema[mark] for mark in MARKS if mark in schema}  # they hold for everything inside, too
    if reference := schema.get("$ref"):
        if reference in inside:
            yield f"{name}.*", marks, 0
            return
        inside += (reference,)
        schema = document["components"]["schemas"][reference.rpartition("/")[2]] | marks
    yield name, schema, items
    for part in (part for kind in ("anyOf", "oneOf", "allOf") for part in schema.get(kind, ())):
        yield from _arguments(part | marks, document, name, items, inside)
    if "items" in schema:
        item = f"{name}.array_*" if name.partition(".")[0] == "json" else name  # in forms and queries all have one name
        yield from _arguments(schema["items"] | marks, document, item, schema.get("maxItems", 0), inside)
    members = {member: part | marks for member, part in schema.get("properties", {}).items()}
    if schema.get("type") == "object" and (others := schema.get("additionalProperties", True)):
        members["*"] = others | marks if isinstance(others, dict) else {}
    for member, part in members.items():
        yield from _arguments(part, document, f"{name}.{member}".lstrip("."), items, inside)


def _exempt(operation: Operation, name: str, items: int) -> list[str]:
    lists = name.count("array_*")
    if lists > 1 or (lists and not 0 < items <= LIST_ITEMS) or not re.fullmatch(r"([\w.\[\]-]|_\*)+", name, re.ASCII):
        raise ValueError(
            f"{operation.method} {operation.policy.path}: no rule can exempt {name}. Name it with letters, digits, _ "
            f"and -, and put it into one list at most, of up to {LIST_ITEMS} items: Field(max_length=…)."
        )
    return [name.replace("array_*", f"array_{number}") for number in range(items)] if lists else [name]


def render(app: FastAPI, *, names: bool) -> dict[str, str]:
    """The files by their paths; with `names`, undocumented names of arguments are refused, too. Raises: ValueError."""
    known = list(operations(app))
    largest = max(operation.max_bytes for operation in known)
    methods = {"HEAD", *(one.method for one in known if one.method.isalpha())}
    methods |= {"OPTIONS"} if "cors_origins" in app.state else set()  # a preflight
    variables = f"setvar:'tx.allowed_methods={' '.join(sorted(methods))}',setvar:tx.max_bytes={largest}"
    lines = [
        HEADER.format(NAMES if names else COMMAND),
        *(f"{limit} {largest}" for limit in ("SecRequestBodyLimit", "SecRequestBodyNoFilesLimit")),
        f'SecAction "id:{FIRST_ID},phase:1,t:none,pass,nolog,{variables}"',
        *(rule for place, one in enumerate(known, 1) for rule in _rules(one, FIRST_ID + 10 * place, names=names)),
        f"SecMarker {FOUND}\n",
    ]
    rules = "\n".join(lines)
    version = f"proxy_set_header X-WAF-Rules {hashlib.sha256(rules.encode()).hexdigest()[:16]};"
    server = (HEADER.format(COMMAND), SWITCHED_ON, f"client_max_body_size {largest};", version, "")
    return {RULES: rules, WAF_SERVER: "\n".join(server)}


def _rules(operation: Operation, number: int, *, names: bool) -> Iterator[str]:
    """The first operation that matches decides, as in routing. A path that matches alone is one of another method."""
    # REQUEST_BODY holds every argument again, under no name; CRS sees the others under theirs.
    targets = [*(f"ARGS:{name}" for name in operation.exempt), *(["REQUEST_BODY"] if operation.exempt else [])]
    types = " ".join(f"|{media_type}|" for media_type in operation.policy.media_types)
    actions = [f"t:none,setvar:tx.operation={number},setvar:tx.max_bytes={operation.max_bytes}"]
    actions += [f"setvar:'tx.allowed_request_content_type={types}'"]
    actions += [f"ctl:ruleRemoveTargetByTag=OWASP_CRS;{target}" for target in targets]
    method, done = operation.method.replace("GET", "GET|HEAD"), ",\\\n        ".join(actions)
    path = rf"^(?:{operation.policy.pattern})\z".replace('"', r"\x22")
    chained = f"id:{number},phase:1,t:none,pass,nolog,skipAfter:{FOUND},setvar:tx.path=1,chain"
    yield f"\n# {operation.method} {operation.policy.path}"
    yield f'SecRule REQUEST_FILENAME "@rx {path}" "{chained}"'
    yield f'    SecRule REQUEST_METHOD "@rx ^(?:{method})$" "{done}"'
    if not names or ANY in operation.body:
        return
    # The engine has members of JSON in ARGS_NAMES alone, not in ARGS_POST_NAMES.
    allowed = {"query": ("ARGS_GET_NAMES", operation.query), "body": ("ARGS_NAMES", operation.query | operation.body)}
    for offset, (what, (variable, known)) in enumerate(allowed.items(), 1):
        yield f'SecRule TX:operation "@eq {number}" "id:{number + offset},phase:2,t:none,pass,nolog,chain"'
        yield rf'    SecRule {variable} "!@rx ^(?:{"|".join(sorted(known))})\z" "t:none,setvar:tx.unknown_{what}=1"'


def stale(app: FastAPI) -> list[str]:
    """The generated files that are not those of this app. None before the first: without them nginx does not start."""
    written = {name: (ROOT / name).read_text() for name in (RULES, WAF_SERVER) if (ROOT / name).is_file()}
    names = written.get(RULES, "").startswith(HEADER.format(NAMES))
    return [name for name, text in render(app, names=names).items() if written.get(name, text) != text]


def add_command(cli: typer.Typer, load: Callable[[], FastAPI]) -> None:
    @cli.command()
    def waf(names: Annotated[bool, typer.Option(help="Also refuse undocumented names of arguments.")] = False) -> None:
        """Write the rules of the firewall (deploy/waf)."""
        try:
            files = render(load(), names=names)
        except ValueError as error:
            fail(str(error))
        for name, text in files.items():
            (ROOT / name).parent.mkdir(parents=True, exist_ok=True)
            (ROOT / name).write_text(text)
            typer.echo(f"Wrote {name}.")
