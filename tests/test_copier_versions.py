"""The oldest Copier that is allowed and the newest one make and update the same projects, as people type it."""

import os
import re
from pathlib import Path

import pytest

from tests.lived_in import everything_else, live_in, theirs
from tests.nightly import rows
from tests.releases import OLDEST
from tests.rendering import ROOT, Project, Template

pytestmark = [pytest.mark.slow, pytest.mark.rotating(5)]

ALLOWED = re.findall(r'_min_copier_version: "(.+)"', (ROOT / "copier.yml").read_text())[0]
VERSIONS = {"the oldest": f"copier=={ALLOWED}", "the newest": "copier"}
NAME = "Demo Service"


def copier(project: Project, version: str, *arguments: str) -> str:
    done = project.run("uvx", "--from", VERSIONS[version], "copier", *arguments)
    assert done.returncode == 0, done.stderr
    return done.stderr


@pytest.mark.parametrize("version", rows(VERSIONS, now=["the oldest"]))
def test_it_copies_and_updates(runnable: Template, tmp_path: Path, version: str) -> None:
    project = Project(tmp_path / "project", runnable.environment)
    answers = ["--data", f"project_name={NAME}", "--defaults", "--quiet"]

    copier(Project(tmp_path, runnable.environment), version, "copy", "--vcs-ref", f"v{OLDEST}", *answers,
           str(runnable.path), str(project.path))  # fmt: skip
    live_in(project, ["roles", "rate_limits"])
    project.commit()
    mine = theirs(project)
    said = copier(project, version, "update", "--vcs-ref", runnable.version, "--defaults")

    new = runnable.copy(tmp_path / "new")
    live_in(new, ["roles", "rate_limits"])
    assert everything_else(project) == everything_else(new)
    assert theirs(project) == mine
    assert "A feature that you switch off loses its files" in said
    assert "python3 app/security/conflicts.py" in said


def test_an_older_one_is_refused(runnable: Template, tmp_path: Path) -> None:
    here = Project(tmp_path, runnable.environment)

    done = here.run("uvx", "--from", "copier==9.18.2", "copier", "copy", "--defaults", str(runnable.path), "project")

    assert done.returncode != 0
    assert f"requires Copier version >= {ALLOWED}" in done.stderr
    assert not (tmp_path / "project/app").exists()


def _cpu_seconds(project: Project, *arguments: str) -> float:
    before = os.times()
    project.must("python", "-m", "copier", *arguments)
    after = os.times()
    return sum(after[2:4]) - sum(before[2:4])


def test_an_update_takes_no_more_than_three_copies(template: Template, tmp_path: Path) -> None:
    """As somebody types it, in seconds of the processor."""
    here = Project(tmp_path)
    arguments = ["--defaults", "--quiet", "--vcs-ref", template.version]
    pairs = []
    for number in range(2):
        target = tmp_path / f"project-{number}"
        copy = ["copy", "--data", f"project_name={NAME}", *arguments, str(template.path), str(target)]
        one = _cpu_seconds(here, *copy)
        project = Project(target)
        project.commit()
        pairs.append((one, _cpu_seconds(project, "update", *arguments, "--data", "audit_log=false")))

    # Of a pair, since the machine is not as quick in every minute.
    assert min(update / copy for copy, update in pairs) <= 3, pairs
