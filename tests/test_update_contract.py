"""What UPGRADING.md says of files of ours that somebody changed: merged or left to decide, never lost in silence."""

import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.lived_in import live_in, sort_dependencies
from tests.releases import OLDEST
from tests.rendering import ROOT, Project, Template

pytestmark = [pytest.mark.slow, pytest.mark.rotating(5)]

EDITED = "app/security/core/settings.py"
LINE, THEIRS, NEWER = (f"CONFIGURATION_ERROR = {code}" for code in (78, 70, 64))
Next = Callable[[str, str], None]


@pytest.fixture
def fork(runnable: Template, tmp_path: Path) -> Template:
    """The template, to release another version of."""
    return runnable.fork(tmp_path / "template")


@pytest.fixture
def lived_in(fork: Template, tmp_path: Path) -> Project:
    project = fork.copy(tmp_path / "project")
    live_in(project, ["roles", "rate_limits"])
    project.commit()
    return project


def release(fork: Template, old: str, new: str, name: str = EDITED) -> None:
    fork.replace(f"template/{name}", old, new)
    fork.release("v9999.1.0")


def unresolved(project: Project) -> str:
    return project.must("git", "diff", "--name-only", "--diff-filter=U")


def test_a_change_on_other_lines_is_merged(fork: Template, lived_in: Project) -> None:
    lived_in.append(EDITED, "# ours\n")
    lived_in.commit()
    release(fork, LINE, NEWER)

    fork.update(lived_in)

    text = lived_in.read(EDITED)
    assert unresolved(lived_in) == ""
    assert text.endswith("# ours\n")
    assert NEWER in text


@pytest.fixture
def conflict(fork: Template, lived_in: Project) -> Project:
    """A project after an update of the line that its owner changed."""
    lived_in.replace(EDITED, LINE, THEIRS)
    lived_in.commit()
    release(fork, LINE, NEWER)
    fork.update(lived_in)
    return lived_in


def test_a_change_of_the_same_line_is_left_to_decide(conflict: Project) -> None:
    text = conflict.read(EDITED)

    assert unresolved(conflict) == f"{EDITED}\n"
    assert re.search(f"<<<<<<< before updating\n{THEIRS}.*\n=======\n{NEWER}", text)


def refusals(project: Project) -> dict[str, "subprocess.CompletedProcess[str]"]:
    """Everything that refuses a conflict, even one that was committed."""
    project.must("git", "init", "--quiet")
    return {
        "the hook": project.run("pre-commit", "run", "--all-files", "conflicts", UV_NO_SYNC="1"),
        "CI's step": project.run("python3", "app/security/conflicts.py"),
        "doctor": project.run("python", "-m", "app.manage", "doctor", FASTAPI_ENV="development"),
        "a start": project.run("python", "-c", "import app.main", FASTAPI_ENV="development"),
    }


def test_a_conflict_is_refused_by_hook_ci_and_doctor(conflict: Project) -> None:
    conflict.must("git", "add", "--all")

    found = refusals(conflict)

    assert {name: done.returncode for name, done in found.items()} == dict.fromkeys(found, 1)
    assert {name for name, done in found.items() if EDITED not in done.stdout + done.stderr} == set()


def test_what_ci_is_told_to_do_is_what_refuses(conflict: Project) -> None:
    assert "run: python3 app/security/conflicts.py\n" in conflict.read(".github/workflows/ci.yml")


def test_a_file_of_ours_that_was_deleted_stays_deleted(fork: Template, lived_in: Project) -> None:
    lived_in.file("docs/security/not-provided.md").unlink()
    lived_in.commit()
    release(fork, "# Not provided", "# What is not provided", "docs/security/not-provided.md")

    fork.update(lived_in)

    assert unresolved(lived_in) == ""
    assert not lived_in.file("docs/security/not-provided.md").exists()


def test_a_folder_of_ours_that_was_deleted_does_not_come_back_in_part(fork: Template, lived_in: Project) -> None:
    deleted = (".github", "docs/security", "tests/security")
    for folder in deleted:
        shutil.rmtree(lived_in.file(folder))
    lived_in.commit()
    brought = {f"{folder}/brought.md" for folder in (*deleted, ".github/security")}
    for name in (*brought, "app/security/brought.md"):
        Project(fork.path).write(f"template/{name}", "Brought by an update.\n")
    fork.release("v9999.1.0")

    fork.update(lived_in)

    assert unresolved(lived_in) == ""
    assert [folder for folder in deleted if lived_in.file(folder).exists()] == []
    assert lived_in.file("app/security/brought.md").exists()


def test_the_tests_are_collected_without_our_documents(lived_in: Project) -> None:
    shutil.rmtree(lived_in.file("docs"))

    lived_in.must("python", "-m", "pytest", "--collect-only", "--quiet")


def test_an_import_of_a_package_that_an_update_drops_is_named_with_its_command(lived_in: Project) -> None:
    lived_in.write("app/api/orders.py", "import structlog_of_old\n" + lived_in.read("app/api/orders.py"))

    done = lived_in.run("python", "-m", "app.manage", "doctor", FASTAPI_ENV="development")

    assert done.returncode == 1
    line = "Problem: app/api/orders.py imports structlog_of_old, which is not installed: uv add structlog_of_old\n"
    assert line in done.stdout


def test_the_conflicts_that_cannot_be_avoided_are_left_to_decide(fork: Template, lived_in: Project) -> None:
    """In a sorted list, and in the line that both sides change; UPGRADING.md says what to write."""
    sort_dependencies(lived_in)
    lived_in.replace("pyproject.toml", 'requires-python = ">=3.11,<3.14"', 'requires-python = ">=3.12,<3.14"')
    lived_in.commit()
    fork.replace("template/pyproject.toml", 'requires-python = ">=3.11,<3.14"', 'requires-python = ">=3.11,<3.15"')
    release(
        fork,
        '    # Yours below: "uv add" appends',
        '    "itsdangerous>=2",\n    # Yours below: "uv add" appends',
        "pyproject.toml",
    )

    fork.update(lived_in)

    assert unresolved(lived_in) == "pyproject.toml\n"
    sides = [
        part.partition("=======\n") for part in lived_in.read("pyproject.toml").split("<<<<<<< before updating\n")[1:]
    ]
    assert 'requires-python = ">=3.12,<3.14"' in sides[0][0]
    assert '"itsdangerous>=2"' in sides[-1][2]


def test_a_file_of_yours_where_a_new_one_of_ours_goes_is_left_to_decide(fork: Template, lived_in: Project) -> None:
    lived_in.write("app/security/brought.py", "OURS = 1\n")
    lived_in.commit()
    Project(fork.path).write("template/app/security/brought.py", '"""Brought by an update."""\n')
    fork.release("v9999.1.0")

    fork.update(lived_in)

    assert unresolved(lived_in) == "app/security/brought.py\n"
    text = lived_in.read("app/security/brought.py")
    assert "OURS = 1" in text
    assert '"""Brought by an update."""' in text


def test_what_was_changed_in_an_unticked_feature_goes_with_it_and_comes_back_new(
    fork: Template, lived_in: Project
) -> None:
    lived_in.append("app/security/audit/chain.py", "# ours\n")
    lived_in.commit()

    fork.update(lived_in, audit_log=False)
    gone = not lived_in.file("app/security/audit/chain.py").exists()
    lived_in.commit()
    fork.update(lived_in, audit_log=True)

    assert gone
    assert unresolved(lived_in) == ""
    assert not lived_in.read("app/security/audit/chain.py").endswith("# ours\n")


ROWS = """from tests.security.callers import AsCaller
from tests.security.fixtures import Database


def test_a_login_is_in_the_audit_log(as_caller: AsCaller, database: Database) -> None:
    as_caller()
    assert database.rows("SELECT count(*) FROM audit_events") != [(0,)]
"""


def test_an_owners_test_of_audit_rows_fails_while_the_audit_log_is_off(fork: Template, lived_in: Project) -> None:
    lived_in.write("tests/api/test_rows.py", ROWS)
    lived_in.commit()
    before = lived_in.run("python", "-m", "pytest", "-q", "tests/api/test_rows.py")

    fork.update(lived_in, audit_log=False)
    after = lived_in.run("python", "-m", "pytest", "-q", "tests/api/test_rows.py")

    assert before.returncode == 0, before.stdout
    assert "assert [(0,)] != [(0,)]" in after.stdout


def test_code_that_uses_what_is_unticked_fails_at_start_up_and_is_named(fork: Template, lived_in: Project) -> None:
    fork.update(lived_in, roles="")
    lived_in.commit()
    refused = lived_in.run("python", "-c", "import app.main", FASTAPI_ENV="development")

    fork.update(lived_in, roles="user, admin")
    lived_in.commit()

    assert refused.returncode != 0
    assert refused.stderr.endswith("ModuleNotFoundError: No module named 'app.security.roles'\n")
    lived_in.must("python", "-c", "import app.main", FASTAPI_ENV="development")


def test_resetting_begins_again_from_before_the_update(conflict: Project) -> None:
    secret = conflict.read(".env")

    conflict.must("git", "reset", "--quiet", "--hard")
    conflict.must("git", "clean", "--quiet", "-d", "--force")

    assert conflict.must("git", "status", "--porcelain") == ""
    assert THEIRS in conflict.read(EDITED)
    assert conflict.read(".env") == secret


NOTICES = (
    "[{version: 9999.1.0, fix: Keys close., features: [api_keys]}, {version: 9999.1.0, fix: Rows hold., features: "
    "[audit_log]}, {version: 9999.1.0, fix: Answers say less., features: []}, "
    "{version: 9999.0.0, fix: This project has it., features: []}]"
)


def test_an_update_names_the_security_fixes_that_are_new_and_concern_these_answers(
    fork: Template, tmp_path: Path
) -> None:
    project = fork.copy(tmp_path / "project", audit_log=False)
    project.commit()
    repository = Project(fork.path)
    questions = repository.read("copier.yml").partition("security_notices:")[0]
    repository.write("copier.yml", f'{questions}security_notices: {{type: yaml, when: false, default: "{NOTICES}"}}\n')
    fork.release("v9999.1.0")

    said = project.run(sys.executable, "-m", "copier", "update", "--defaults", "--vcs-ref", fork.version).stderr

    fixes = [line for line in said.splitlines() if line.startswith("Security fix")]
    assert fixes == ["Security fix of 9999.1.0: Keys close.", "Security fix of 9999.1.0: Answers say less."]
    assert "A feature that you switch off loses its files" in said
    assert "audit_log" not in project.read(".github/security/update_notice.py")


def test_the_message_before_an_update_shows_the_commits_whose_edits_would_be_lost(
    template: Template, tmp_path: Path
) -> None:
    project = template.at(f"v{OLDEST}").copy(tmp_path / "project")
    project.commit("Generate the project")
    found = re.search(r"^ +(git log --stat .*)$", (ROOT / "copier.yml").read_text(), re.MULTILINE)
    assert found
    project.append("app/main.py", "# ours\n")
    project.commit("Edit our own file")
    before = project.must("sh", "-c", found[1])
    project.append("app/security/tokens.py", "# ours\n")
    project.commit("Edit a module that moves")

    after = project.must("sh", "-c", found[1])

    assert before == ""
    assert "Edit a module that moves" in after
    assert "app/security/tokens.py" in after
