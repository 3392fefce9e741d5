"""A planted fault turns exactly the command of its job red; a new project is clean for all of them."""

from collections.abc import Callable

import pytest

from tests.nightly import rows, some
from tests.pipelines import red
from tests.rendering import Project, Template
from tests.variants import EVERY, MAIN

pytestmark = pytest.mark.rotating(4)

variants = pytest.mark.parametrize("variant", rows(EVERY, now=MAIN))

# What people write, by the job that has to refuse it and a word of what it says.
NOTES = "app/api/notes.py"
CODE = {
    "a hard-coded secret": ('\nSECRET_KEY = "x"\n', "B105:app/api/notes.py"),
    "a password as a default": ('\n\ndef log_in(password: str = "hunter2") -> None: ...\n', "B107:app/api/notes.py"),
    "a shell": ('\nimport subprocess\n\nsubprocess.run("ls", shell=True)\n', "B602:app/api/notes.py"),
    "another shell": ('\nimport os\n\nos.system("ls")\n', "B605:app/api/notes.py"),
    "SQL from text": ('\nSQL = "SELECT * FROM notes WHERE id = %s" % NAME\n', "B608:app/api/notes.py"),
    "an address for everybody": ('\nHOST = "0.0.0.0"\n', "B104:app/api/notes.py"),
    "TLS without its check": ('\nimport httpx\n\nhttpx.get("https://x", verify=False)\n', "B501:app/api/notes.py"),
    "what Bandit calls medium": ("\nNUMBER = eval(input())\n", "B307:app/api/notes.py"),
    "a bare nosec": ('\nimport os\n\nos.system("ls")  # nosec\n', "nosec:app/api/notes.py"),
    "a nosec that goes on": ('\nimport os\n\nos.system("ls")  # nosecurity\n', "nosec:app/api/notes.py"),
    "a nosec of no rule": ('\nKEY = "x"  # nosec B999  # no such rule\n', "nosec:app/api/notes.py"),
    "a nosec without a reason": ('\nKEY = "x"  # nosec B105\n', "nosec:app/api/notes.py"),
    "a nosec whose reason is one word": ('\nKEY = "x"  # nosec B105  # because\n', "nosec:app/api/notes.py"),
    "a reason, and a bare one beside it": (
        '\nKEY = "x"  # nosec B105  # no use # nosec\n',
        "nosec:app/api/notes.py",
    ),
    "code that nobody can read": ("\ndef (\n", "app/api/notes.py: syntax error"),
}
JOB = """
  more:
    runs-on: ubuntu-24.04
    permissions: {}
    steps:
      - """
PINNED = "actions/checkout@3d3c42e5aac5ba805825da76410c181273ba90b1 # v7.0.1\n        with:\n"
WORKFLOWS = {
    "an action by its tag": ("uses: some/action@v4\n", "unpinned-uses:.github/workflows/ci.yml"),
    "an issue's title in a command": (
        "run: echo ${{ github.event.issue.title }}\n",
        "template-injection:.github/workflows/ci.yml",
    ),
    "the same, silenced": (
        "run: echo ${{ github.event.issue.title }} # zizmor: ignore[template-injection]\n",
        "template-injection:.github/workflows/ci.yml",
    ),
    "a token that stays": (f"uses: {PINNED}          fetch-depth: 0\n", "artipacked:.github/workflows/ci.yml"),
    "what is no workflow": ("nothing: 1\n", "zizmor failed"),
}


@variants
def test_a_new_project_is_clean(runnable: Template, variant: str) -> None:
    project = runnable.copy_of(runnable.render(**EVERY[variant]), runnable.scratch / f"clean {variant}")
    project.commit()

    assert red(project) == {}


@variants
def test_bandit_finds_nothing_of_any_severity(runnable: Template, variant: str) -> None:
    done = runnable.render(**EVERY[variant]).run("bandit", "--quiet", "--recursive", "app", "migrations")

    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("fault", some(CODE))
def test_a_fault_in_the_code_fails_its_scan_alone(owned: Project, fault: str) -> None:
    text, said = CODE[fault]
    owned.append(NOTES, text)
    owned.commit()

    failed = red(owned)

    assert failed.keys() == {"code"}
    assert said in failed["code"]


SETTINGS = {
    "rules": ("pyproject.toml", '\n[tool.bandit]\nskips = ["B105"]\n'),
    "folders": ("pyproject.toml", '\n[tool.bandit]\nexclude_dirs = ["app"]\n'),
    "rules, in a file beside the code": ("app/.bandit", "[bandit]\nskips: B105\n"),
    "folders, in a file beside the code": ("app/.bandit", "[bandit]\nexclude: app\n"),
}


@pytest.mark.parametrize("hidden", some(SETTINGS))
def test_settings_of_bandit_hide_nothing(owned: Project, hidden: str) -> None:
    file, text = SETTINGS[hidden]
    owned.append(NOTES, CODE["a hard-coded secret"][0])
    owned.append(file, text)

    failed = red(owned)

    assert failed.keys() == {"code"}
    assert CODE["a hard-coded secret"][1] in failed["code"]


def test_a_report_about_less_than_everything_fails(owned: Project) -> None:
    """A stand-in for Bandit that saw nothing, and so nothing wrong."""
    owned.write("stand-in/bandit.py", 'print(\'{"errors": [], "results": [], "metrics": {"_totals": {}}}\')\n')

    done = owned.run("python", ".github/security/scan_code.py", PYTHONPATH="stand-in")

    assert done.returncode == 1
    assert "bandit did not read every file" in done.stderr
    assert "app/main.py" in done.stderr


@pytest.mark.parametrize("fault", some(WORKFLOWS))
def test_a_fault_in_a_workflow_fails_its_scan_alone(owned: Project, fault: str) -> None:
    text, said = WORKFLOWS[fault]
    owned.append(".github/workflows/ci.yml", JOB + text)
    owned.commit()

    failed = red(owned)

    assert failed.keys() == {"workflows"}
    assert said in failed["workflows"]


def private_key(project: Project) -> str:
    return project.must("openssl", "genpkey", "-algorithm", "ed25519").strip()


def really_issued(project: Project, name: str, argument: str = "") -> str:
    """The result of a function of `app/security`."""
    (path,) = [path for path in project.file("app/security").rglob("*.py") if f"\ndef {name}(" in path.read_text()]
    module = ".".join(path.relative_to(project.path).with_suffix("").parts)
    code = f"from {module} import {name} as make; print(make({argument}))"
    return project.must("python", "-c", code, FASTAPI_ENV="development").strip()


SECRETS: dict[str, tuple[Callable[[Project], str], str]] = {
    "a key for production": (
        lambda project: really_issued(project, "new_key", "'production'").split("'")[1],
        "service.api-key:",
    ),
    "a key for development": (
        lambda project: really_issued(project, "new_key", "'development'").split("'")[1],
        "service.api-key:",
    ),
    "a refresh token": (lambda project: really_issued(project, "random_token", "'rt'"), "service.one-time"),
    "an invitation": (lambda project: really_issued(project, "random_token", "'ot'"), "service.one-time"),
    "a root secret": (
        lambda project: f"SECRET_KEY={really_issued(project, 'new_secret')}",
        "service.root-secret:",
    ),
    "somebody else's private key": (private_key, "private-key:"),
}


@pytest.mark.parametrize("kind", some(SECRETS))
def test_a_secret_fails_its_scan_alone_also_when_a_later_commit_removed_it(owned: Project, kind: str) -> None:
    make, said = SECRETS[kind]
    secret = make(owned)
    owned.write("docs/example.md", f"Call it with {secret} for now.\n")
    owned.commit()
    owned.file("docs/example.md").unlink()
    owned.commit()

    failed = red(owned)

    assert failed.keys() == {"secrets"}
    assert said in failed["secrets"]
    assert "docs/example.md:1 in " in failed["secrets"]
    assert secret.rpartition("=")[2] not in failed["secrets"]
