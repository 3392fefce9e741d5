"""docs/reference: made from copier.yml and from the code of a project with every feature on, so it cannot be stale."""

import ast
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.generated_text import compare, compare_part
from tests.rendering import ROOT, Project, Template
from tests.sabotages import SABOTAGES
from tests.variants import ALL, QUESTIONS

REFERENCE = ROOT / "docs/reference"
NOTE = "<!-- Made by tests/test_reference.py: change the code, not this page. -->\n"
INSPECTION = """
import json
import typer
from app.manage import _load_app, cli
from app.security.core import settings
from app.security.operations import doctor, start_up

def commands(group, names=()):
    for name, command in sorted(getattr(group, "commands", {}).items()):
        yield from commands(command, (*names, name))
    if not hasattr(group, "commands"):
        options = [(" ".join(one.opts), getattr(one, "help", None) or "") for one in group.params]
        yield " ".join(names), group.help or "", options

settings.looking_only = True
app = _load_app()
routes = [(policy.name, doctor.callers(policy)) for policy in start_up.check_app(app).all]
summaries = {
    f"{method.upper()} {path}": operation.get("description") or operation.get("summary") or ""
    for path, methods in app.openapi()["paths"].items() for method, operation in methods.items()
}
print(json.dumps({"commands": list(commands(typer.main.get_command(cli))), "routes": routes, "summaries": summaries}))
"""

NO_CALL, NO_LIST = "A parameter-less dependency must have a callable dependency", "'Depends' object is not iterable"
SCOPE = 'dependencies=[require_scope("things:read")]'
SPELLINGS = {  # of a parameter or of dependencies: what is right, where the wrong one fails, and its words
    "caller = Depends(Caller)": ("caller: Caller", "start-up", "in place of Depends()"),
    "db = Depends(DbSession)": ("db: DbSession", "start-up", "in place of Depends()"),
    'dependencies=[Depends(require_scope("things:read"))]': (SCOPE, "import", NO_CALL),
    "dependencies=[require_scope]": (SCOPE, "import", "'function' object has no attribute 'dependency'"),
    "dependencies=[Depends(require_scope)]": (SCOPE, "start-up", "never calls require_scope"),
    'dependencies=require_scope("things:read")': (SCOPE, "import", NO_LIST),
    "dependencies=[Depends(public)]": ("dependencies=[public]", "import", NO_CALL),
    "dependencies=public": ("dependencies=[public]", "import", NO_LIST),
    "dependencies=[Caller]": ("caller: Caller", "import", "Caller annotates a parameter"),
}
WRITE = """
import json, sys
from fastapi import Depends, FastAPI
from starlette.testclient import TestClient
from app.database import DbSession
from app.security.compose import fastapi_options, secure
from app.security.identity import Caller, public, require_scope

def outcome(spelling):
    app, failed = FastAPI(**fastapi_options()), "import"
    options, parameter = (spelling, "") if "dependencies" in spelling else ("", spelling)
    options = "dependencies=[public]" if "db" in parameter else options
    try:
        exec(f"@app.get('/', {options})\\nasync def route({parameter}): ...", globals() | {"app": app})
        secure(app)
        failed = "start-up"
        with TestClient(app, base_url="http://localhost") as client:
            response = client.get("/")
        return f"each request ({response.status_code})", response.text
    except Exception as error:
        return failed, str(error)

print(json.dumps([outcome(spelling) for spelling in sys.argv[1:]]))
"""


@pytest.fixture(scope="module")
def project(runnable: Template) -> Project:
    return runnable.render(**ALL)


@pytest.fixture(scope="module")
def inspected(project: Project) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(project.must("python", "-c", INSPECTION, FASTAPI_ENV="development"))
    return found


def _table(*columns: str, rows: list[tuple[str, ...]]) -> str:
    lines = [columns, tuple("---" for _ in columns), *rows]
    return "".join(f"| {' | '.join(cell.replace('|', '&#124;') for cell in line)} |\n" for line in lines)


def _page(title: str, introduction: str, *parts: str) -> str:
    return "\n".join([NOTE + f"# {title}\n", f"{introduction}\n", *parts])


def _first_line(text: str | None) -> str:
    return " ".join((text or "").strip().partition("\n\n")[0].split())


def test_the_page_about_questions_is_that_of_copier_yml() -> None:
    found = re.findall(r"^\| `(\w+)` \| ([^|]+) \| (.+) \|$", (ROOT / "README.md").read_text(), re.MULTILINE)
    table = {name: (default, meaning) for name, default, meaning in found}
    rows = [(f"`{name}`", _default(question) or table[name][0], table[name][1]) for name, question in QUESTIONS.items()]
    text = (
        "Copier asks these in this order. On the command line each is `--data NAME=VALUE`; where the prompt shows a\n"
        "list of two, the value is `yes` or `no`, and the first of the list is yes."
    )
    compare(REFERENCE / "questions.md", _page("Questions", text, _table("Name", "Default", "Meaning", rows=rows)))


def _default(question: dict[str, Any]) -> str:
    default = question.get("default")
    if "{%" in str(default):
        return ""  # computed: README.md says how
    return {None: "none", True: "yes", "": "empty"}.get(default) or f"`{default}`"


@pytest.mark.parametrize("name", ["settings", "events"])
def test_the_pages_about_settings_and_events_are_those_of_the_project(project: Project, name: str) -> None:
    """The project's own tests compare them with its code."""
    compare(REFERENCE / f"{name}.md", NOTE + project.read(f"docs/security/{name}.md"))


def test_the_page_about_problem_types_is_that_of_the_code(project: Project) -> None:
    rows = sorted({row for text in _modules(project) for row in _problems(ast.parse(text))})
    text = (
        "Every error response is a problem document (RFC 9457). `type` is `about:blank` where the status says all;\n"
        "`detail` is for people, and `instance` is what to search the log for. A body of your own,\n"
        "for unknown paths too: `app.add_exception_handler(404, …)` in `create_app`."
    )
    types = _table("Type", "Status", "Detail", rows=[(f"`{kind}`", status, detail) for kind, status, detail in rows])
    compare(REFERENCE / "problem-types.md", _page("Problem types", text, types))


def _modules(project: Project) -> list[str]:
    return [path.read_text() for path in sorted(project.file("app/security").rglob("*.py"))]


def _problems(tree: ast.Module) -> Iterator[tuple[str, str, str]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Problem" and node.args:
            status, *others = [one.value if isinstance(one, ast.Constant) else None for one in node.args]
            named = {one.arg: one.value.value for one in node.keywords if isinstance(one.value, ast.Constant)}
            slug, detail = ([*others, None, None])[:2]
            if isinstance(status, int) and (slug or not others):
                yield (
                    str(slug or "about:blank"),
                    str(status),
                    str(detail or named.get("detail") or "the phrase of the status"),
                )
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "PROBLEM_TYPES":
            for error, slug in ast.literal_eval(node.value).items():
                status = "403" if error == "insufficient_scope" else "401"
                yield slug, status, f"with the challenge `{error}`" if error else "no credential was sent"


def test_the_page_about_the_command_line_is_that_of_manage(inspected: dict[str, Any]) -> None:
    parts = []
    for name, words, options in inspected["commands"]:
        rows = [(f"`{option}`", _first_line(meaning)) for option, meaning in options]
        listed = ["", "It takes:", "", _table("Option", "Meaning", rows=rows)] if rows else [""]
        parts.append("\n".join([f"## manage {name}", "", _first_line(words), *listed]))
    text = (
        "`uv run manage` in a project with every feature on. Each command is one transaction; an error is one line\n"
        "and exit code 1."
    )
    compare(REFERENCE / "commands.md", _page("Command line", text, *parts).rstrip() + "\n")


def test_the_page_about_the_http_surface_is_that_of_the_app(inspected: dict[str, Any]) -> None:
    summaries = inspected["summaries"]
    rows = [
        (f"`{name}`", callers, _first_line(summaries.get(re.sub(r",HEAD|:\w+(?=})", "", name))))
        for name, callers in sorted(inspected["routes"], key=lambda route: route[0].split(" ")[::-1])
    ]
    text = (
        "Every route of a project with every feature on, the example `/notes` among them. *Everyone* includes\n"
        "unauthenticated clients, *people* are logged in,\n"
        "*callers* are people or programs with a key; a route without a scope is closed to limited credentials."
    )
    compare(REFERENCE / "http.md", _page("Routes", text, _table("Route", "Who may call", "What it does", rows=rows)))


def test_the_page_for_reviewers_counts_what_is_there(project: Project) -> None:
    controls = project.read("docs/security/controls.md")
    chapters = controls.partition("## Summary\n\n")[2].partition("\n\n")[0] + "\n"
    rows = controls.partition("## Protections\n")[2].partition("## Scans")[0].count("\n| **")
    lines = sum(len(text.splitlines()) for text in _modules(project))
    tests = sum(path.read_text().count("\ndef test_") for path in project.file("tests").rglob("test_*.py"))
    shipped = sum(project.file(f"tests/security/{sabotage.test}.py").exists() for sabotage in SABOTAGES)
    sabotages = f"more than {len(SABOTAGES) // 50 * 50} sabotages: more than {shipped // 10 * 10} for those"
    counts = (
        f"{rows} protections in about {round(lines, -3):,} lines of Python, more than {tests // 100 * 100} tests\n"
        f"that a project gets, {sabotages}\ntests, the others for tests of this repository.\n"
    )

    assert f"[{rows} protections]" in (ROOT / "README.md").read_text()
    assert f"more than {len(SABOTAGES) // 50 * 50} [sabotages]" in (ROOT / "README.md").read_text()
    compare_part(ROOT / "docs/reviewers.md", "counts", f"\n{counts}\n")
    compare_part(ROOT / "docs/reviewers.md", "chapters", f"\n{chapters}\n")


def test_the_page_about_imports_is_that_of_the_modules_at_the_top(project: Project) -> None:
    parts = []
    for path in sorted(project.file("app/security").glob("[a-z]*.py")):
        tree = ast.parse(path.read_text())
        names = sorted(set(_public_names(tree)))
        if names:
            listed = ", ".join(f"`{name}`" for name in names)
            parts.append(f"## app.security.{path.stem}\n\n{_first_line(ast.get_docstring(tree))}\n\n{listed}\n")
    text = "What your code may import. A folder of `app/security` is internal; the modules at its top are not."
    introduction = (
        "None of these leaves a route open: each fails. `Caller` and `DbSession` annotate a parameter. `public` and\n"
        "what `require_scope` and `require_role` return stand in the list of `dependencies`, without `Depends`."
    )
    rows = [(f"`{bad}`", f"`{good}`", f"{when}: `{words}`") for bad, (good, when, words) in SPELLINGS.items()]
    table = _table("Wrong", "Right", "Where it fails, and with which words", rows=rows)
    parts.append(f"## Wrong spellings\n\n{introduction}\n\n{table}")
    compare(REFERENCE / "imports.md", _page("Imports", text, *parts).rstrip() + "\n")


@pytest.mark.parametrize("right", [False, True])
def test_wrong_spellings_fail_as_the_page_says_and_right_ones_do_not(
    project: Project, tmp_path: Path, right: bool
) -> None:
    spellings = [good for good, _, _ in SPELLINGS.values()] if right else [*SPELLINGS]
    variables = {"FASTAPI_ENV": "development", "DATABASE_URL": f"sqlite:///{tmp_path / 'spellings.sqlite3'}"}
    printed = project.must("python", "-c", WRITE, *spellings, **variables)
    found = json.loads(printed.splitlines()[-1])

    for (stage, said), (_, when, words) in zip(found, SPELLINGS.values(), strict=True):
        assert stage in (("each request (200)", "each request (401)") if right else (when,))
        assert right or words in said


def _public_names(tree: ast.Module) -> Iterator[str]:
    for node in tree.body:
        if isinstance(node, ast.ImportFrom):
            yield from (one.name for one in node.names if one.asname == one.name)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) and not node.name.startswith("_"):
            yield node.name


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ('"token": (Limit(10, MINUTE), Limit(100, HOUR))', "| 10 in a minute, 100 in an hour |"),
        ("FAILURES_PER_SOURCE = Limit(5, 15 * MINUTE)", "| 5 in 15 minutes |"),
        ("FAILURES_FROM_UNKNOWN_SOURCES = Limit(20, HOUR)", "| 20 in an hour |"),
        ("AFTER_100_FAILURES = Limit(1, HOUR, after_failures=100)", "after 100 failures in a row | 1 in an hour |"),
    ],
)
def test_the_limits_of_guessed_passwords_are_those_of_the_code(code: str, words: str) -> None:
    assert code in (ROOT / "template/app/security/authentication/throttle.py").read_text()
    assert words in (ROOT / "docs/explanation/sessions.md").read_text()


@pytest.mark.parametrize(
    ("words", "module"),
    [
        ("brute force", "authentication/throttle.py"),
        ("lockout", "authentication/throttle.py"),
        ("tamper", "audit/chain.py"),
        ("unauthenticated", "access/identity.py"),
        ("connection pool", "../database.py"),
        ("least privilege", "keys/__init__.py"),
        ("slow client", "admission/request_guard.py"),
    ],
)
def test_the_words_of_an_incident_lead_to_the_code_and_to_a_page(words: str, module: str) -> None:
    found = re.compile(words, re.IGNORECASE)

    assert found.search((ROOT / "template/app/security" / module).read_text())
    assert [page for page in (ROOT / "template/docs/security").glob("*.md") if found.search(page.read_text())]
