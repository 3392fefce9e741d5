"""The workflow that tells of a newer template, run as GitHub runs it: step by step, against a template on this disk."""

import json
import re
from pathlib import Path

import pytest
import yaml

from tests.rendering import Project, Template

pytestmark = [pytest.mark.slow, pytest.mark.rotating(5)]

CHANGELOG = """# Changelog

## 0.3.0 - 2027-02-01

### Security

- Keys of a disabled account no longer open anything. *(concerns: api_keys)*
- A row can no longer be put in before the first. *(concerns: audit_log, audit_routes)*

## 0.2.0 - 2027-01-01

### Added

- Something else.

### Security

- Every answer says less about us. *(concerns: every project)*

"""
GH = """#!/bin/sh
echo "$@" >> "$GH_CALLS"
case "$1 $2" in
  "issue list") cat "$GH_ISSUES" ;;
esac
"""


@pytest.fixture
def fork(runnable: Template, tmp_path: Path) -> Template:
    """The template at 0.1.0, with nothing newer yet."""
    fork = runnable.fork(tmp_path / "template")
    for tag in Project(fork.path).must("git", "tag").split():
        Project(fork.path).must("git", "tag", "--delete", tag)
    fork.release("v0.1.0")
    return fork


@pytest.fixture
def project(fork: Template, tmp_path: Path) -> Project:
    made = fork.copy(tmp_path / "project", audit_log=False)
    made.commit()
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/gh").write_text(GH)
    (tmp_path / "bin/gh").chmod(0o755)
    (tmp_path / "issues.json").write_text("[]")
    return made


def release(fork: Template) -> None:
    text = Project(fork.path).read("CHANGELOG.md")
    Project(fork.path).write("CHANGELOG.md", CHANGELOG + text.partition("## Unreleased")[2])
    fork.release("v0.2.0")
    fork.release("v0.3.0")


def steps(project: Project) -> list[dict[str, object]]:
    workflow = yaml.safe_load(project.read(".github/workflows/security.yml"))
    found: list[dict[str, object]] = [step for step in workflow["jobs"]["template"]["steps"] if "run" in step]
    return found


def run_the_job(project: Project) -> int:
    """Each step that runs a command, with the environment that it names; the exit code of the first that fails."""
    scratch = project.path.parent
    path = f"{scratch / 'bin'}:{project.environment.variables()['PATH']}" if project.environment else ""
    found = {"PATH": path, "GH_CALLS": str(scratch / "calls"), "GH_ISSUES": str(scratch / "issues.json")}
    for step in steps(project):
        done = project.run("sh", "-e", "-c", str(step["run"]), **found, **dict(step.get("env", {})))  # type: ignore[call-overload]
        if done.returncode:
            (scratch / "said").write_text(done.stderr)
            return done.returncode
    return 0


def calls(project: Project) -> str:
    path = project.path.parent / "calls"
    return path.read_text() if path.exists() else ""


def test_nothing_newer_opens_nothing(project: Project) -> None:
    assert run_the_job(project) == 0
    assert "issue create" not in calls(project)


def test_an_issue_says_what_is_new_what_to_type_and_what_concerns_this_project(
    fork: Template, project: Project
) -> None:
    release(fork)

    assert run_the_job(project) == 0

    issue = calls(project).partition("issue create ")[2]
    assert issue.startswith("--title Template 0.3.0: security fixes for this project --body This project was made from")
    on = {
        "every project",
        *re.findall(r'FEATURES = "(.*)"', project.read(".github/security/update_notice.py"))[0].split(),
    }
    concerns = re.findall(r"\*\(concerns: ([a-z_, ]+)\)\*$", issue, re.MULTILINE)
    number = sum(not on.isdisjoint(one.split(", ")) for one in concerns)
    assert 2 <= number < len(concerns)
    assert f" {number} of the security fixes below concern its answers." in issue
    assert "- Keys of a disabled account no longer open anything. *(concerns: api_keys)*" in issue
    assert "    uvx copier update --defaults\n" in issue
    assert "## 0.3.0" in issue
    assert "## 0.2.0" in issue
    assert "## 0.1.0" not in issue


def test_an_issue_is_opened_once(fork: Template, project: Project) -> None:
    release(fork)
    title = "Template 0.3.0: security fixes for this project"
    (project.path.parent / "issues.json").write_text(json.dumps([{"title": title}]))

    assert run_the_job(project) == 0
    assert "issue create" not in calls(project)


def test_answers_without_a_version_fail(project: Project) -> None:
    project.replace(".copier-answers.yml", "_commit: v0.1.0", "_commit: main")

    assert run_the_job(project) == 1
    assert "names no version of the template" in (project.path.parent / "said").read_text()


def test_the_job_changes_nothing_in_the_repository(project: Project) -> None:
    workflow = yaml.safe_load(project.read(".github/workflows/security.yml"))

    assert workflow["permissions"] == {}
    assert workflow["jobs"]["template"]["permissions"] == {"contents": "read", "issues": "write"}
    assert "git push" not in project.read(".github/workflows/security.yml")
