"""One snapshot of the working tree for each worker, and one virtual environment for all of them."""

import os
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

from tests.nightly import EVERYTHING, waiting
from tests.rendering import Environment, Project, Template, git_environment, install, snapshot
from tests.variants import ALL

collect_ignore = ["generated", "ecosystem"]  # they run inside generated projects


LEFT_OUT: dict[str, int] = {}  # what waits for the nightly run: how many rows of which test


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave to the nightly run what waits for it; run long tests first, so that no worker ends with one."""
    left = [] if EVERYTHING else [*waiting(items)]
    items[:] = sorted(
        (item for item in items if item not in left), key=lambda item: not item.get_closest_marker("slow")
    )
    config.hook.pytest_deselected(items=left)
    LEFT_OUT.update(Counter(item.nodeid.partition("[")[0] for item in left))
    if hasattr(config, "workeroutput"):  # a worker of pytest-xdist, whose parent prints
        config.workeroutput["left_out"] = LEFT_OUT


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """A worker of pytest-xdist is done."""
    LEFT_OUT.update(node.workeroutput.get("left_out", {}))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """What waits for the nightly run, and the matrix of updates."""
    if LEFT_OUT:
        terminalreporter.section(f"{sum(LEFT_OUT.values())} tests left to the nightly run (EVERY_VARIANT=1)")
        terminalreporter.write("".join(f"{number:>5}  {test}\n" for test, number in sorted(LEFT_OUT.items())))
    reports = [report for key in ("passed", "failed") for report in terminalreporter.stats.get(key, [])]
    rows = sorted(
        f"{value:<110} {report.outcome} in {report.duration:.0f} s"
        for report in reports
        for name, value in report.user_properties
        if name == "update" and report.when == "call"
    )
    if rows:
        terminalreporter.section(f"{len(rows)} updates of projects that are lived in")
        terminalreporter.write("\n".join(rows) + "\n")


@pytest.fixture(scope="session", autouse=True)
def same_everywhere(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Nothing of a developer's git or Copier settings reaches a test, and no test asks for a password."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in git_environment(tmp_path_factory.mktemp("settings")).items():
            patch.setenv(name, value)
        for name in ("VIRTUAL_ENV", "PYTEST_ADDOPTS"):
            patch.delenv(name, raising=False)
        yield


@pytest.fixture(scope="session")
def template(same_everywhere: None, tmp_path_factory: pytest.TempPathFactory) -> Template:
    """The working tree as the newest version of the template."""
    scratch = tmp_path_factory.mktemp("template")
    return Template(snapshot(scratch / "repository"), scratch)


@pytest.fixture(scope="session")
def environment(template: Template, pytestconfig: pytest.Config) -> Environment:
    """Kept between runs in pytest's cache folder; one worker makes it, the others wait."""
    assert pytestconfig.cache is not None
    folder = pytestconfig.cache.mkdir("generated-projects")
    project = template.copy(template.scratch / "environment")
    with FileLock(folder / "lock"):
        return install(project, folder / "environment")


@pytest.fixture(scope="session")
def runnable(template: Template, environment: Environment) -> Template:
    """The same template, whose projects can be run."""
    return Template(template.path, template.scratch / "runnable", environment)


@pytest.fixture
def project(runnable: Template, tmp_path: Path) -> Callable[..., Project]:
    """Make a project of one's own, to change and to run: `project(roles="")`."""

    def make(**answers: object) -> Project:
        return runnable.copy_of(runnable.render(**answers), tmp_path / "project")

    return make


@pytest.fixture(scope="session")
def committed(runnable: Template) -> Project:
    """The complete project as its owner first commits it, with its lock. Change nothing in it."""
    project = runnable.copy_of(runnable.render(**ALL), runnable.scratch / "committed")
    project.must("uv", "lock", "--quiet")
    project.commit()
    return project


@pytest.fixture
def owned(committed: Project, runnable: Template, tmp_path: Path) -> Project:
    """The same, to change and to run."""
    return runnable.copy_of(committed, tmp_path / "owned")


@pytest.fixture(scope="session")
def in_ci() -> bool:
    return os.environ.get("CI") == "true"
