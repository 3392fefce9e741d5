"""Every combination of answers makes a project that is clean, typed and alive, and whose own tests pass."""

import ast
import cProfile
import json
import re
import tomllib
from collections.abc import Callable
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.nightly import rows
from tests.rendering import Project, Template
from tests.variants import ALL, EVERY, OTHER_VALUES, PAIRWISE, SMALLEST, Answers, shaping, values_of

pytestmark = pytest.mark.rotating(4)
variants = pytest.mark.parametrize("variant", rows(EVERY, now=PAIRWISE))

START = """
import app.main
from starlette.testclient import TestClient
with TestClient(app.main.app, base_url="http://localhost", client=("127.0.0.1", 50000)) as client:
    print(*(client.get(path).status_code for path in ("/health/live", "/notes", "/docs")))
"""


@pytest.fixture
def rendered(template: Template) -> Callable[[str], Project]:
    return lambda variant: template.render(**EVERY[variant])


def _texts(project: Project) -> dict[str, str]:
    return {name: content.decode() for name, content in project.files().items()}


@variants
def test_it_is_linted(runnable: Template, variant: str) -> None:
    runnable.render(**EVERY[variant]).must("ruff", "check", "--no-cache", ".")


@variants
def test_it_is_formatted(runnable: Template, variant: str) -> None:
    runnable.render(**EVERY[variant]).must("ruff", "format", "--check", "--no-cache", ".")


@variants
def test_it_type_checks_strictly(runnable: Template, variant: str) -> None:
    project = runnable.render(**EVERY[variant])

    project.must("mypy", "--strict", "--cache-dir", str(runnable.scratch / "mypy"))


@variants
def test_its_files_parse(rendered: Callable[[str], Project], variant: str) -> None:
    for name, text in _texts(rendered(variant)).items():
        if name.endswith(".py"):
            ast.parse(text)
        elif name.endswith(".toml"):
            tomllib.loads(text)
        elif name.endswith((".yml", ".yaml")):
            assert [*yaml.safe_load_all(text)]


@variants
def test_nothing_of_the_template_language_is_left(rendered: Callable[[str], Project], variant: str) -> None:
    left = re.compile(r"\{\{=|\{%|%\}|\{#|#\}")
    texts = _texts(rendered(variant))

    assert [name for name, text in texts.items() if left.search(name) or left.search(text)] == []


@variants
def test_a_feature_that_is_off_leaves_no_trace(
    rendered: Callable[[str], Project], template: Template, variant: str
) -> None:
    everything = template.render(**ALL).files().keys()
    present = rendered(variant).files().keys()
    off = [path for path in everything - present if path.endswith(".py")]
    traces = [trace for path in off for trace in (path, path.removesuffix(".py").replace("/", "."))]

    users = {name: trace for name, text in _texts(rendered(variant)).items() for trace in traces if trace in text}

    assert users == {}
    assert bool(off) == ("no_" in variant)


def _imported(text: str) -> set[str]:
    """The modules that a file imports, by their full names; a name out of a module counts as one too."""
    found = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.ImportFrom):
            found |= {str(node.module), *(f"{node.module}.{name.name}" for name in node.names)}
        elif isinstance(node, ast.Import):
            found |= {name.name for name in node.names}
    return found


@variants
def test_no_protection_lies_about_unused(rendered: Callable[[str], Project], variant: str) -> None:
    """A module that should have been left out is one that nothing of the app imports."""
    texts = {name: text for name, text in _texts(rendered(variant)).items() if name.endswith(".py")}
    app = [name for name in texts if re.match("app/security/.+/", name) and not name.endswith("__init__.py")]
    modules = {name: name.removesuffix(".py").replace("/", ".") for name in app}
    used = {imported for name, text in texts.items() if not name.startswith("tests/") for imported in _imported(text)}

    assert [name for name, module in modules.items() if module not in used] == []


@variants
def test_the_controls_name_tests_that_the_project_has(rendered: Callable[[str], Project], variant: str) -> None:
    named = re.findall(r"`(\w+/test_\w+\.py)`", rendered(variant).read("docs/security/controls.md"))

    assert named
    assert [name for name in named if not rendered(variant).file(f"tests/security/{name}").exists()] == []


@pytest.mark.parametrize("others", [ALL, SMALLEST["keys alone"]], ids=["everything else on", "keys alone"])
def test_where_nobody_logs_in_the_pages_speak_of_no_login(template: Template, others: Answers) -> None:
    project = template.render(**others | {"jwt": False, "roles": ""})
    text = project.read("docs/security/controls.md") + project.read("docs/security/operations.md")

    assert re.findall(r"(?<!-)\b(?:log in|login|logout|refresh|JWT|Argon2(?:id)?)\b", text) == []


@variants
def test_it_starts_and_answers(project: Callable[..., Project], variant: str) -> None:
    printed = project(**EVERY[variant]).must("python", "-c", START, FASTAPI_ENV="development")

    assert "200 401 200" in printed.splitlines()


ASK_OFTEN = """
import app.main
from starlette.testclient import TestClient
CALLS = [("GET", "/notes", {}), ("GET", "/notes", {"Authorization": "Bearer x"}), ("GET", "/notes", {"X-API-Key": "x"}),
         ("GET", "/nowhere", {}), ("DELETE", "/health/ready", {}), ("GET", "/health/ready", {})]
with TestClient(app.main.app, base_url="http://localhost", client=("127.0.0.1", 50000)) as client:
    for method, path, headers in CALLS:
        page = {"Origin": "http://localhost:5173"}
        answers = [client.request(method, path, headers=headers | page) for _ in range(60)]
        refused = [answer for answer in answers if answer.status_code == 429]
        assert all(answer.headers["access-control-allow-origin"] == page["Origin"] for answer in refused)
        print("limited" if refused else "free")
"""


@pytest.mark.parametrize(("answer", "expected"), [(True, "limited"), (False, "free")])
def test_requests_are_limited_where_that_was_answered_and_nowhere_else(
    project: Callable[..., Project], answer: bool, expected: str
) -> None:
    service = project(**ALL | {"rate_limits": answer})

    printed = service.must("python", "-c", ASK_OFTEN, FASTAPI_ENV="development", RATE_LIMIT="50/minute")

    assert [line for line in printed.splitlines() if line in ("limited", "free")] == [expected] * 6


@pytest.mark.parametrize("answer", [True, False])
def test_the_readme_promises_limits_where_there_are_some(template: Template, answer: bool) -> None:
    promise = template.render(**ALL | {"rate_limits": answer}).read("README.md").partition("```")[0]

    assert ("limits" in promise) == answer


@pytest.mark.parametrize("question", shaping())
def test_the_suite_is_run_with_every_answer(question: str) -> None:
    """A question that is added to copier.yml is in every table here, or this fails."""
    answered = {str(answers[question]) for answers in PAIRWISE.values()}
    others = {str(changed[question]) for changed in OTHER_VALUES.values() if question in changed}

    assert {*map(str, values_of(question)), *others} <= answered


def test_only_the_secret_differs_between_two_projects(template: Template, tmp_path: Path) -> None:
    one, other = (template.copy(tmp_path / name).files() for name in ("one", "other"))

    assert [name for name in one if one[name] != other[name]] == [".env"]
    assert one.keys() == other.keys()


def _secret(project: Project) -> str:
    found = re.search(r"^SECRET_KEY=([0-9a-f]{128})$", project.read(".env"), re.MULTILINE)
    assert found
    return found[1]


def test_the_secret_stands_in_a_file_that_git_never_sees(template: Template, tmp_path: Path) -> None:
    project = template.copy(tmp_path / "project")

    project.commit()

    assert ".env" not in project.must("git", "ls-files").splitlines()
    assert project.must("git", "status", "--porcelain") == ""
    holders = [name for name, text in _texts(project).items() if _secret(project) in text]
    assert holders == [".env"]


def test_every_other_file_is_committed(template: Template, tmp_path: Path) -> None:
    project = template.copy(tmp_path / "project")

    project.commit()

    assert set(project.must("git", "ls-files").splitlines()) == project.files().keys() - {".env"}


def _calls(work: Callable[[], Any]) -> int:
    """How many functions Python calls meanwhile: unlike seconds, about the same on every machine and in every run."""
    profile = cProfile.Profile()
    profile.runcall(work)
    return sum(entry.callcount for entry in profile.getstats())


def test_rendering_does_little_more_than_copying_as_many_empty_files(template: Template, tmp_path: Path) -> None:
    """Copier's own work per file is most of it: expressions that cost something would show here."""
    empty = tmp_path / "empty"
    for name in template.render().files():
        (empty / name).parent.mkdir(parents=True, exist_ok=True)
        (empty / name).touch()

    def calls(source: Template) -> int:
        return _calls(lambda: source.copy(tmp_path / f"counted-{source.path.name}"))

    assert calls(template) < 2 * calls(Template(empty, tmp_path))


@variants
def test_renovate_leaves_alone_every_version_that_the_template_raises(
    rendered: Callable[[str], Project], variant: str
) -> None:
    project = rendered(variant)
    declared = tomllib.loads(project.read("pyproject.toml"))
    ours = [*declared["project"]["dependencies"], *chain(*declared["dependency-groups"].values())]
    rules = json.loads(project.read("renovate.json"))["packageRules"]

    left_alone = next(rule for rule in rules if rule["matchManagers"] == ["pep621"])

    assert sorted(left_alone["matchPackageNames"]) == sorted({re.split(r"[\[><=]", name)[0] for name in ours})
    assert left_alone["enabled"] is False
