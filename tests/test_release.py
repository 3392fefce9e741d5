"""What the workflows of releases and audits run: the right commit is tagged, with its notes, and no tag twice."""

import tarfile
from pathlib import Path

import pytest

from hooks import audit_generated_project
from hooks.prepare_release import commit_of, git, prepare
from tests.rendering import Project

UNRELEASED = "# Changelog\n\n## Unreleased\n\n### Added\n\n- More.\n"
RELEASED = "# Changelog\n\n## 0.2.0 - 2027-01-01\n\n### Added\n\n- More.\n\n## 0.1.0 - 2026-12-01\n\n- All.\n"


@pytest.fixture
def repository(tmp_path: Path) -> Project:
    """One in which 0.2.0 was written into CHANGELOG.md, and work went on."""
    made = Project(tmp_path / "repository")
    made.write("CHANGELOG.md", UNRELEASED)
    made.write("UPGRADING.md", "## Versions\n\n### 0.2.0\n\n### 0.1.0\n")
    made.write("copier.yml", 'features: {default: "{}"}\nsecurity_notices: {default: "[]"}\n')
    made.write("pyproject.toml", '[project]\nversion = "0.2.0"\n')
    made.commit()
    made.write("CHANGELOG.md", RELEASED)
    made.commit("Release 0.2.0")
    made.write("CHANGELOG.md", RELEASED.replace("# Changelog\n", "# Changelog\n\n## Unreleased\n\n- Later.\n"))
    made.write("later.txt", "")
    made.commit("Go on")
    return made


def test_the_commit_that_wrote_the_version_is_released_and_not_what_came_later(repository: Project) -> None:
    prepared = prepare(repository.path, repository.file("prepared"))

    assert prepared == {"tag": "v0.2.0", "commit": git(repository.path, "rev-parse", "HEAD~1").strip()}
    with tarfile.open(repository.file("prepared/copier-fastapi-secure-0.2.0.tar.gz")) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert names - {""} == {"CHANGELOG.md", "UPGRADING.md", "copier.yml", "pyproject.toml"}


def test_the_notes_are_the_section_of_the_version(repository: Project) -> None:
    prepare(repository.path, repository.file("prepared"))

    assert repository.read("prepared/notes.md") == "### Added\n\n- More.\n"


def test_a_tag_that_is_there_stops_the_release(repository: Project) -> None:
    repository.must("git", "tag", "v0.2.0")

    with pytest.raises(SystemExit, match=r"v0\.2\.0 is there already"):
        prepare(repository.path, repository.file("prepared"))


def test_a_version_that_is_not_told_everywhere_stops_the_release(repository: Project) -> None:
    repository.write("pyproject.toml", '[project]\nversion = "0.1.0"\n')

    with pytest.raises(SystemExit, match=r"pyproject\.toml: says version 0\.1\.0"):
        prepare(repository.path, repository.file("prepared"))


def test_a_clone_without_the_whole_history_stops_the_release(repository: Project) -> None:
    with pytest.raises(SystemExit, match="it has to have the whole history"):
        commit_of(repository.path, "0.3.0")


SCANS = """
jobs:
  one: {steps: [{uses: somebody/something@v1}, {run: "uv run --no-project python .github/security/one.py --here"}]}
  two: {steps: [{run: "uv sync"}, {run: "uv run --no-project python .github/security/two.py"}]}
  at a release: {if: false, steps: [{run: "uv run --no-project python .github/security/three.py"}]}
"""


def test_every_scan_of_a_generated_project_is_run_whatever_the_others_find(tmp_path: Path) -> None:
    project = Project(tmp_path)
    project.write(".github/workflows/security.yml", SCANS)
    project.write(".github/security/one.py", "import sys\n\nsys.exit(3)\n")
    project.write(".github/security/two.py", "open('two', 'w').close()\n")

    found = audit_generated_project.failed(tmp_path)

    assert found == ["uv run --no-project python .github/security/one.py --here ended with 3"]
    assert project.file("two").exists()


def test_a_security_workflow_without_a_scan_fails_the_audit(tmp_path: Path) -> None:
    Project(tmp_path).write(".github/workflows/security.yml", "jobs: {one: {steps: [{run: uv sync}]}}\n")

    assert audit_generated_project.failed(tmp_path) == ["security.yml has no scan"]
