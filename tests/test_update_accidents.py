"""What goes wrong around an update says what it is and loses nothing of anybody's; UPGRADING.md says what to type."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.lived_in import live_in, theirs
from tests.nightly import rows
from tests.rendering import ROOT, Project, Template

pytestmark = [pytest.mark.slow, pytest.mark.rotating(5)]

GUIDE = (ROOT / "UPGRADING.md").read_text()
UPDATE = [sys.executable, "-m", "copier", "update", "--defaults", "--vcs-ref"]


@pytest.fixture
def lived_in(template: Template, runnable: Template, tmp_path: Path) -> Project:
    project = runnable.copy_of(runnable.render(), tmp_path / "project")
    live_in(project, ["roles", "rate_limits"])
    project.commit()
    return project


def update(project: Project, template: Template) -> "subprocess.CompletedProcess[str]":
    """As somebody types it."""
    return project.run(*UPDATE, template.version)


def assert_said(done: "subprocess.CompletedProcess[str]", words: str) -> None:
    """It is refused with these words, and they stand in the guide."""
    assert done.returncode != 0
    assert words in done.stderr + done.stdout
    assert words in GUIDE


def test_a_dirty_tree_is_refused(lived_in: Project, template: Template) -> None:
    lived_in.append("README.md", "Not committed.\n")
    before = lived_in.files()

    done = update(lived_in, template)

    assert_said(done, "Destination repository is dirty")
    assert lived_in.files() == before


def test_a_project_without_git_is_refused(runnable: Template, template: Template, tmp_path: Path) -> None:
    project = runnable.copy_of(runnable.render(), tmp_path / "project")
    before = project.files()

    done = project.run(*UPDATE, template.version, GIT_CEILING_DIRECTORIES=str(tmp_path))

    assert_said(done, "Updating is only supported in git-tracked subprojects.")
    assert project.files() == before


def test_lost_answers_are_refused_and_git_brings_them_back(lived_in: Project, template: Template) -> None:
    lived_in.file(".copier-answers.yml").unlink()
    lived_in.commit("Lose it")
    before = lived_in.files()

    done = update(lived_in, template)
    lost = lived_in.must("git", "log", "--format=%H", "--diff-filter=D", "--", ".copier-answers.yml").split()[0]
    lived_in.must("git", "checkout", "--quiet", f"{lost}~", "--", ".copier-answers.yml")
    lived_in.commit("Bring it back")

    assert_said(done, "TypeError: Template not found")
    assert lived_in.files().keys() - before.keys() == {".copier-answers.yml"}
    assert update(lived_in, template).returncode == 0


def test_empty_answers_are_refused_and_git_brings_them_back(lived_in: Project, template: Template) -> None:
    lived_in.write(".copier-answers.yml", "")
    lived_in.commit("Empty it")

    done = update(lived_in, template)
    emptied = lived_in.must("git", "log", "--format=%H", "--", ".copier-answers.yml").split()[0]
    lived_in.must("git", "checkout", "--quiet", f"{emptied}~", "--", ".copier-answers.yml")
    lived_in.commit("Bring it back")

    assert_said(done, "'NoneType' object has no attribute 'items'")
    assert update(lived_in, template).returncode == 0


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("roles: user, admin", 'roles: "admin\'); import evil_7f3a  # "'),
        ("cors_origins: ''", "cors_origins: 'https://*.evil_7f3a.example'"),
        ("slug: demo-service", 'slug: "x\\n- run: evil_7f3a"'),
        ("project_name: Demo Service", "project_name: 'Demo\" evil_7f3a'"),
    ],
)
def test_a_hostile_answer_reaches_no_file(lived_in: Project, template: Template, old: str, new: str) -> None:
    """Copier drops an answer that is not valid, or refuses; what is written is never what was answered."""
    lived_in.replace(".copier-answers.yml", old, new)
    lived_in.commit("Edit an answer")
    mine = theirs(lived_in)

    update(lived_in, template)

    found = [name for name, text in lived_in.files().items() if b"evil_7f3a" in text]
    assert [name for name in found if name != ".copier-answers.yml"] == []
    assert theirs(lived_in) == mine


def test_an_answer_whose_question_is_gone_is_dropped(lived_in: Project, template: Template) -> None:
    lived_in.append(".copier-answers.yml", "an_old_question: true\n")
    lived_in.commit("As an older version wrote it")

    assert update(lived_in, template).returncode == 0

    assert "an_old_question" not in lived_in.answers()


def test_an_answer_that_was_edited_by_hand_brings_nothing_and_loses_nothing(
    lived_in: Project, template: Template, runnable: Template
) -> None:
    runnable.update(lived_in, audit_log=False)
    lived_in.commit("Untick")
    lived_in.replace(".copier-answers.yml", "audit_log: false", "audit_log: true")
    lived_in.commit("Edit it by hand")
    mine = theirs(lived_in)

    by_hand = update(lived_in, template)
    brought = lived_in.file("app/security/audit/chain.py").exists()
    lived_in.must("git", "checkout", "--quiet", ".")
    lived_in.replace(".copier-answers.yml", "audit_log: true", "audit_log: false")
    lived_in.commit("Edit it back")
    runnable.update(lived_in, audit_log=True)

    assert by_hand.returncode == 0
    assert not brought
    assert lived_in.file("app/security/audit/chain.py").exists()
    assert theirs(lived_in) == mine


@pytest.fixture
def begun(lived_in: Project, runnable: Template) -> Callable[[], "subprocess.Popen[bytes]"]:
    """Starts an update in which a feature goes, as a process of its own."""
    assert lived_in.environment

    def start() -> "subprocess.Popen[bytes]":
        command = [*UPDATE, runnable.version, "--data", "audit_log=false"]
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        environment = lived_in.environment.variables() if lived_in.environment else {}
        return subprocess.Popen(command, cwd=lived_in.path, env=environment, start_new_session=True, **quiet)

    return start


@pytest.mark.parametrize("part", rows([0.35, 0.6, 0.8, 0.95], now=[0.8]))
def test_an_update_that_is_killed_at_any_point_loses_nothing(
    lived_in: Project, begun: Callable[[], "subprocess.Popen[bytes]"], part: float
) -> None:
    before, started = lived_in.files(), time.monotonic()
    assert begun().wait() == 0
    whole = time.monotonic() - started
    after = lived_in.files()

    _start_again(lived_in)
    killed = begun()
    time.sleep(whole * part)
    os.killpg(killed.pid, signal.SIGKILL)
    killed.wait()
    assert theirs(lived_in) == {name: text for name, text in before.items() if name in theirs(lived_in)}

    _start_again(lived_in)
    assert lived_in.files() == before
    assert begun().wait() == 0
    assert lived_in.files() == after


def _start_again(project: Project) -> None:
    """As the guide says."""
    assert "git reset --hard && git clean -d --force" in GUIDE
    project.must("git", "reset", "--quiet", "--hard")
    project.must("git", "clean", "--quiet", "-d", "--force")
