"""The hooks of a generated project: local, run with its own environment, and each refuses what it is there for."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.nightly import some
from tests.rendering import Project, Template
from tests.test_secret_scan import NEW_KEY, made
from tests.variants import ALL, SMALLEST

pytestmark = pytest.mark.rotating(4)

EVERY_HOOK = {"conflicts", "lock", "lint", "format", "types", "code", "change", "secrets", "workflows"}
WORKFLOW = "on: push\njobs:\n  more:\n    runs-on: x\n    steps:\n      - uses: a/b@v1\n"
FAULTS = {
    "conflicts": ("docs/more.md", "<<<<<<< before updating\nOurs.\n"),
    "lint": ("app/api/more.py", "import os\n"),
    "format": ("app/api/more.py", "MORE = [1,2]\n"),
    "types": ("app/api/more.py", 'MORE: int = "1"\n'),
    "code": ("app/api/more.py", 'import hashlib\n\nMORE = hashlib.md5(b"x").hexdigest()  # noqa: S324\n'),
    "secrets": ("docs/more.md", "{key}\n"),
    "workflows": (".github/workflows/more.yml", WORKFLOW),
}


def hooks(project: Project) -> dict[str, dict[str, Any]]:
    repositories = yaml.safe_load(project.read(".pre-commit-config.yaml"))["repos"]
    assert [repository["repo"] for repository in repositories] == ["local"]
    return {hook["id"]: hook for hook in repositories[0]["hooks"]}


Run = Callable[[Project], tuple[set[str], str]]


@pytest.fixture(scope="session")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Run every hook but `change` on every file, and say which fail and what is printed. mypy remembers."""
    cache = str(tmp_path_factory.mktemp("mypy"))

    def run(project: Project) -> tuple[set[str], str]:
        project.must("git", "add", "--all")
        done = project.run("pre-commit", "run", "--all-files", UV_NO_SYNC="1", SKIP="change", MYPY_CACHE_DIR=cache)
        return set(re.findall(r"^- hook id: (\w+)$", done.stdout, re.MULTILINE)), done.stdout

    return run


@pytest.mark.slow
@pytest.mark.parametrize("answers", [ALL, *SMALLEST.values()], ids=["all", *SMALLEST])
def test_a_new_project_passes_them(runnable: Template, run: Run, tmp_path: Path, answers: dict[str, Any]) -> None:
    """Each alone, with every set of answers: test_scans.py, test_rendered.py."""
    project = runnable.copy_of(runnable.render(**answers), tmp_path / "project")
    project.must("uv", "lock", "--quiet")
    project.must("git", "init", "--quiet")

    failed, printed = run(project)

    assert failed == set(), printed


@pytest.mark.parametrize("bandit", [True, False])
def test_each_is_run_with_the_projects_own_environment(template: Template, bandit: bool) -> None:
    found = hooks(template.render(**ALL | {"bandit": bandit}))

    assert found.keys() == EVERY_HOOK - (set() if bandit else {"code"})
    entries = {name: hook["entry"] for name, hook in found.items()}
    assert {name for name, entry in entries.items() if not entry.startswith("uv run --no-sync ")} == {"lock"}
    assert {hook["language"] for hook in found.values()} == {"system"}


@pytest.mark.parametrize("hook", some(FAULTS))
def test_a_fault_is_refused_by_its_hook_alone(owned: Project, run: Run, hook: str) -> None:
    path, text = FAULTS[hook]
    owned.write(path, text.format(key=made(owned, NEW_KEY)) if hook == "secrets" else text)

    failed, printed = run(owned)

    assert failed == {hook}, printed


def test_a_lock_that_is_out_of_step_is_refused(owned: Project, run: Run) -> None:
    owned.replace("pyproject.toml", '    "typer>=', '    "six",\n    "typer>=')

    failed, printed = run(owned)

    assert failed == {"lock"}, printed
