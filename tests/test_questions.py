"""Answers, good and bad: a bad one gets a message that says what to type, and nothing is written."""

import re
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from tests.nightly import EVERYTHING, sample, some
from tests.rendering import NAME, ROOT, Project, Template, outside

pytestmark = pytest.mark.rotating(4)

CALLERS_ADVICE = 'Answer yes here, or yes to "jwt"'
NAME_ADVICE = re.compile(
    "question 'project_name': Type (a name|at most 60 characters|a letter first|letters, digits|no space last)"
)
SLUG_ADVICE = "Type at most 40 lower-case letters"
ROLES_ADVICE = "Type names of a-z, 0-9 and _"

# What is harmless in a table of attacks and deadly in a file: none of it may be part of a name.
INJECTIONS = {
    "double quote": 'x"',
    "python": 'x"]\nimport os #',
    "single quote": "x'y",
    "backslash": "x\\y",
    "hash": "x #y",
    "braces": "x {y}",
    "variable": "{{= slug }}",
    "variable inside": "x{{= slug }}",
    "other variable": "x {{ slug }}",
    "block": "# {% if true %}x# {% endif %}",
    "block inside": "x# {% raw %}",
    "workflow": "x${{ github.token }}",
    "shell": "x$(id)",
    "backtick": "x`id`",
    "path": "x/../y",
    "colon": "x: y",
    "markup": "x<b>",
    "percent": "x%s",
    "null byte": "x\0y",
    "bell": "x\ay",
    "delete": "x\x7fy",
    "c1 control": "x\x85y",
    "escape sequence": "x\x1b[31my",
    "tab": "x\ty",
    "newline": "x\ny",
    "trailing newline": "x\n",
    "trailing carriage return": "x\r",
    "line separator": "x\u2028y",
    "bidi override": "x\u202ey",
    "bidi isolate": "x\u2066y",
    "right-to-left mark": "x\u200f",
    "zero width space": "x\u200by",
    "zero width joiner at the end": "x\u200d",
    "byte order mark": "\ufeffx",
    "no-break space": "x\u00a0y",
    "lone surrogate": "x\ud800",
}
BAD_NAMES = INJECTIONS | {
    "nothing": "",
    "only spaces": "   ",
    "space first": " Order",
    "space last": "Order ",
    "digit first": "1Order",
    "exponent": "1e3",
    "underscore first": "_order",
    "point first": ".order",
    "hyphen first": "-order",
    "other digit first": "\u0663order",
    "combining mark first": "\u0301order",
    "too long": "a" * 61,
    "yaml list": "[a, b]",
    "yaml tag": "!!python/name:os.system",
}
BAD_SLUGS = INJECTIONS | {
    "nothing": "",
    "upper case": "Order",
    "digit first": "1order",
    "hyphen first": "-order",
    "hyphen last": "order-",
    "other script": "dienst-\u00fc",
    "space": "my order",
    "too long": "a" * 41,
}
BAD_ROLES = {name: f"admin, {value}" for name, value in INJECTIONS.items()} | {
    "upper case": "User, admin",
    "digit first": "1user, admin",
    "underscore first": "_user, admin",
    "hyphen": "power-user, admin",
    "space inside": "power user, admin",
    "other script": "\u00fcser, admin",
    "look-alike": "\u0430dmin, admin",
    "too long": "a" * 32 + ", admin",
    "too many": ", ".join(["admin", *(f"role{number}" for number in range(20))]),
    "empty name": "user,, admin",
    "comma first": ", admin",
    "comma last": "user, admin,",
    "only a comma": ",",
    "only a space": " ",
    "semicolon": "user; admin",
    "yaml list": "[user, admin]",
}
BAD_ORIGINS = {name: f"https://app.example.com, {value}" for name, value in INJECTIONS.items()} | {
    "wildcard": "*",
    "wildcard of a domain": "https://*.example.com",
    "null": "null",
    "plain": "http://app.example.com",
    "no scheme": "app.example.com",
    "path": "https://app.example.com/",
    "query": "https://app.example.com?x=1",
    "upper case": "https://App.example.com",
    "somebody": "https://user@app.example.com",
    "port too large": "https://app.example.com:65536",
    "no port": "https://app.example.com:",
    "empty label": "https://app..example.com",
    "hyphen first": "https://-app.example.com",
    "comma last": "https://app.example.com,",
    "only a space": " ",
    "pattern": "https://.+",
}
MORE_BAD_ROLES = {
    "no admin": ("user, editor", 'Add "admin"'),
    "admin in another case": ("user, admins", 'Add "admin"'),
    "twice": ("user, admin, user", "Name each role once"),
    "admin twice": ("admin,admin", "Name each role once"),
}

# YAML reads these as something else, or some version of it does.
ODD_WORDS = ["null", "Null", "on", "off", "no", "yes", "true", "False", "y", "n", "nan", "Nan", "inf", "e3"]
SCRIPTS = {
    "German": "B\u00fccherdienst",
    "French, decomposed": "Cafe\u0301 Service",
    "Greek": "\u03a5\u03c0\u03b7\u03c1\u03b5\u03c3\u03af\u03b1",
    "Russian": "\u0421\u043b\u0443\u0436\u0431\u0430 \u0437\u0430\u043a\u0430\u0437\u043e\u0432",
    "Arabic": "\u062e\u062f\u0645\u0629 \u0627\u0644\u0637\u0644\u0628\u0627\u062a",
    "Hebrew": "\u05e9\u05d9\u05e8\u05d5\u05ea",
    "Hindi": "\u0939\u093f\u0928\u094d\u0926\u0940 \u0938\u0947\u0935\u093e",
    "Thai": "\u0e1a\u0e23\u0e34\u0e01\u0e32\u0e23\u0e17\u0e35\u0e48",
    "Japanese": "\u6ce8\u6587\u30b5\u30fc\u30d3\u30b9",
    "Korean": "\uc8fc\ubb38 \uc11c\ube44\uc2a4",
    "Vietnamese": "D\u1ecbch v\u1ee5",
}


def _cases(table: dict[str, str]) -> pytest.MarkDecorator:
    """A third of the table for a commit, the others for the nightly run."""
    now = sample([*table], one_in=3)
    marks = {name: () if name in now else (pytest.mark.nightly,) for name in table}
    params = [pytest.param(value, id=name.replace(" ", "-"), marks=marks[name]) for name, value in table.items()]
    return pytest.mark.parametrize("value", params)


@pytest.fixture
def refused(template: Template, tmp_path: Path) -> Callable[..., str]:
    """Try a copy that has to be refused into a folder with a file in it; returns what was said."""
    folder = tmp_path / "occupied"
    folder.mkdir()
    (folder / "mine.txt").write_text("mine")

    def attempt(**answers: object) -> str:
        with pytest.raises(ValueError, match=r"Validation error|Invalid|required") as refusal:
            template.copy(folder, **answers)
        assert Project(folder).files() == {"mine.txt": b"mine"}
        return str(refusal.value)

    return attempt


@_cases(BAD_NAMES)
def test_a_name_that_could_break_out_of_a_file_is_refused(refused: Callable[..., str], value: str) -> None:
    assert NAME_ADVICE.search(refused(project_name=value))


@_cases(BAD_SLUGS)
def test_a_slug_that_could_break_out_of_a_key_is_refused(refused: Callable[..., str], value: str) -> None:
    assert SLUG_ADVICE in refused(slug=value)


@_cases(BAD_ROLES)
def test_roles_that_are_no_identifiers_are_refused(refused: Callable[..., str], value: str) -> None:
    assert ROLES_ADVICE in refused(roles=value)


@pytest.mark.parametrize(
    ("value", "advice"), list(MORE_BAD_ROLES.values()), ids=[name.replace(" ", "-") for name in MORE_BAD_ROLES]
)
def test_roles_need_an_administrator_and_each_its_own_name(
    refused: Callable[..., str], value: str, advice: str
) -> None:
    assert advice in refused(roles=value)


def test_a_service_that_nobody_can_authenticate_to_is_refused(refused: Callable[..., str]) -> None:
    assert CALLERS_ADVICE in refused(jwt=False, api_keys=False)


@_cases(BAD_ORIGINS)
def test_origins_that_are_none_are_refused(refused: Callable[..., str], value: str) -> None:
    assert re.search("Type (https://name|each origin)", refused(cors_origins=value))


@pytest.mark.parametrize("word", some(ODD_WORDS))
def test_a_word_that_yaml_reads_as_something_else_is_a_name_like_others(
    template: Template, tmp_path: Path, word: str
) -> None:
    project = template.copy(tmp_path / "project", project_name=word, roles=f"{word.lower()}, admin")

    assert tomllib.loads(project.read("pyproject.toml"))["project"]["description"] == word
    assert f'"{word.lower().upper()}": "{word.lower()}"' in project.read("app/security/access/roles.py")
    assert project.answers()["project_name"] == word
    assert project.answers()["roles"] == f"{word.lower()}, admin"


@pytest.mark.parametrize("word", some(["null", "on", "Nan"]))
def test_such_a_word_stays_what_it_is_through_an_update(template: Template, tmp_path: Path, word: str) -> None:
    project = template.copy(tmp_path / "project", project_name=word, roles=f"{word.lower()}, admin")
    before = project.files()
    project.commit()
    newer = template.fork(tmp_path / "newer")
    newer.release("v10000.0.0")
    project.replace(".copier-answers.yml", str(template.path), str(newer.path))
    project.commit()

    newer.update(project)

    assert {**project.files(), ".copier-answers.yml": b""} == {**before, ".copier-answers.yml": b""}
    assert project.answers()["project_name"] == word


@_cases(SCRIPTS)
def test_a_name_may_be_written_in_any_script(template: Template, tmp_path: Path, value: str) -> None:
    project = template.copy(tmp_path / "project", project_name=value)

    metadata = tomllib.loads(project.read("pyproject.toml"))["project"]
    assert metadata["description"] == value
    assert metadata["name"].isascii()
    compile(project.read("app/main.py"), "main.py", "exec")


@pytest.mark.parametrize(
    ("name", "slug"),
    [
        ("Demo Service", "demo-service"),
        ("Order.Service_2 - EU", "order-service-2-eu"),
        ("\u6ce8\u6587", "service"),
        ("B\u00fccher", "b-cher"),
        ("a" * 60, "a" * 40),
        ("a" * 39 + " b", "a" * 39),
    ],
)
def test_the_slug_follows_from_the_name(template: Template, tmp_path: Path, name: str, slug: str) -> None:
    assert template.copy(tmp_path / "project", project_name=name).answers()["slug"] == slug


@pytest.mark.parametrize("roles", ["", "admin", "user,admin", "  user ,  admin  ", "viewer, editor, admin", "a, admin"])
def test_roles_may_be_none_some_or_many(template: Template, tmp_path: Path, roles: str) -> None:
    project = template.copy(tmp_path / "project", roles=roles)

    assert project.file("app/security/access/roles.py").exists() == bool(roles)


@pytest.mark.parametrize("origins", ["", "https://a.example", " https://a.example:8443 ,https://localhost "])
def test_origins_may_be_none_some_or_many(template: Template, tmp_path: Path, origins: str) -> None:
    project = template.copy(tmp_path / "project", cors_origins=origins)

    assert project.file("app/security/http/cors.py").exists() == bool(origins)
    if origins:
        assert '    "https://a.example' in project.read("app/security/http/cors.py")


def _command(template: Template, folder: Path, *answers: str) -> subprocess.CompletedProcess[str]:
    data = [part for answer in answers for part in ("--data", answer)]
    command = [sys.executable, "-m", "copier", "copy", "--defaults", "--vcs-ref", template.version, *data]
    return subprocess.run([*command, str(template.path), str(folder)], env=outside(), capture_output=True, text=True)


@pytest.mark.parametrize(
    ("answers", "advice"),
    [
        ([], 'Question "project_name" is required'),
        (["project_name="], "Type a name."),
        (['project_name=x"y'], "Type letters, digits"),
        (["project_name=Order\n"], "Type letters, digits"),
        (["project_name=Order", "roles=user"], 'Add "admin"'),
        (["project_name=Order", "roles=user, admin\n"], ROLES_ADVICE),
        (["project_name=Order", "slug=Order"], SLUG_ADVICE),
        (["project_name=Order", "jwt=no", "api_keys=no"], CALLERS_ADVICE),
    ],
)
def test_the_command_line_refuses_with_the_same_words(
    template: Template, tmp_path: Path, answers: list[str], advice: str
) -> None:
    folder = tmp_path / "new"

    done = _command(template, folder, *answers)

    assert done.returncode != 0
    assert advice in done.stderr
    assert not folder.exists()


@pytest.mark.parametrize("word", ["null", "on", "no"])
def test_the_command_line_takes_yaml_words_as_names(template: Template, tmp_path: Path, word: str) -> None:
    done = _command(template, tmp_path / "new", f"project_name={word}", f"roles={word}, admin")

    assert done.returncode == 0, done.stderr
    assert Project(tmp_path / "new").answers()["project_name"] == word


def test_the_command_line_says_what_to_type_next_and_asks_for_no_trust(template: Template, tmp_path: Path) -> None:
    done = _command(template, tmp_path / "new", "project_name=Order")

    assert done.returncode == 0, done.stderr
    assert "git check-ignore .env && uv lock && git add -A && git commit" in done.stderr
    assert "uv run fastapi dev" in done.stderr


HOSTILE = {
    "python": 'pwned"]\nimport os #',
    "workflow": "pwned${{ github.token }}",
    "variable": "pwned{{= slug }}",
    "block": "# {% set x = 1 %}pwned",
    "bidi": "pwned\u202e",
    "trailing newline": "pwned\n",
    "list": ["pwned"],
    "mapping": {"pwned": "pwned"},
    "not a name": "Pwned!",
}
FEATURES = re.findall(r"^    (\w+):", (ROOT / "copier.yml").read_text().partition("features:\n")[2], re.MULTILINE)
HIDDEN = {
    "role_names": ['pwned"}); import os #'],
    "features": {
        name: {
            "enabled": True,
            "answer": "pwned",
            "modules": ["pwned"],
            "tests": ["pwned"],
            "scripts": ["pwned"],
            "packages": ["pwned"],
        }
        for name in FEATURES
    },
    "brought_by": {"pwned": "pwned"},
    "_copier_operation": "pwned",
    "_exclude": ["pwned", "app"],
    "_tasks": ["touch pwned"],
    "_envops": {"undefined": "pwned"},
    "unknown": "pwned",
}


@pytest.fixture(scope="session")
def committed(template: Template, tmp_path_factory: pytest.TempPathFactory) -> Project:
    project = template.copy(tmp_path_factory.mktemp("committed") / "project")
    project.commit()
    return project


@pytest.fixture
def edited(template: Template, committed: Project, tmp_path: Path) -> Callable[..., Project]:
    """A committed project whose answers file was edited by somebody."""

    def make(**answers: object) -> Project:
        project = template.copy_of(committed, tmp_path / "project")
        project.write(".copier-answers.yml", yaml.safe_dump(project.answers() | answers, allow_unicode=True))
        project.commit()
        return project

    return make


def _render_or_refuse(render: Callable[[Project], None], project: Project) -> None:
    """Both are right: what counts is what stands in the files afterwards."""
    try:
        render(project)
    except (ValueError, TypeError):
        assert project.must("git", "status", "--porcelain") == ""
        project.write(".copier-answers.yml", "")


def _infected(project: Project) -> list[str]:
    return [name for name, content in project.files().items() if b"pwned" in content.lower() or "pwned" in name.lower()]


@pytest.mark.parametrize("question", ["project_name", "jwt", "roles", "slug", "api_keys", "cors_origins"])
@pytest.mark.parametrize("name", some(HOSTILE))
def test_an_edited_answer_that_is_none_reaches_no_file(
    template: Template, edited: Callable[..., Project], question: str, name: str
) -> None:
    value = HOSTILE[name]
    project = edited(**{question: f"admin, {value}" if question == "roles" and isinstance(value, str) else value})

    by_update = question == "roles" or EVERYTHING  # it renders three times
    _render_or_refuse(template.update if by_update else template.recopy, project)

    assert _infected(project) == []
    assert project.must("git", "diff", "HEAD", "--name-only") in ("", ".copier-answers.yml\n")


@pytest.mark.parametrize("name", some(HIDDEN))
def test_what_is_computed_cannot_be_set_in_the_answers_file(
    template: Template, edited: Callable[..., Project], name: str
) -> None:
    project = edited(**{name: HIDDEN[name]})

    _render_or_refuse(template.update, project)

    assert _infected(project) == []
    assert project.must("git", "diff", "HEAD", "--name-only") in ("", ".copier-answers.yml\n")


def test_the_defaults_alone_make_a_project(template: Template) -> None:
    answers = template.render().answers()

    assert {name: answers[name] for name in ("project_name", "roles", "slug")} == {
        "project_name": NAME,
        "roles": "user, admin",
        "slug": "demo-service",
    }
