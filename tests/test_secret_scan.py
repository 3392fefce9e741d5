"""The scan for secrets looks at what git holds, or at named files, and never says that it is done when it is not."""

import re
import subprocess
from pathlib import Path

import pytest

from tests.pipelines import run_job, waive
from tests.rendering import Project
from tests.test_waivers import in_days

pytestmark = pytest.mark.rotating(5)

SCAN = ("python", ".github/security/scan_secrets.py")
NEW_SECRET = "from app.security.core.settings import new_secret; print(new_secret())"
NEW_KEY = "from app.security.keys.store import new_key; print(new_key('production')[0])"


def made(project: Project, code: str) -> str:
    return project.must("python", "-c", code, FASTAPI_ENV="development").strip()


def test_what_git_ignores_is_not_looked_at(owned: Project) -> None:
    assert "SECRET_KEY=" in owned.read(".env")

    assert run_job(owned, "secrets").returncode == 0


@pytest.mark.parametrize(
    "quoted", ["SECRET_KEY={}", "AUDIT_KEY = '{}'", '"SECRET_KEY": "{}"', "SECRET_KEY_FALLBACKS={}"]
)
def test_a_root_secret_is_found_however_it_is_written(owned: Project, quoted: str) -> None:
    secret = made(owned, NEW_SECRET)
    owned.write("settings.txt", quoted.format(secret))

    done = owned.run(*SCAN, "settings.txt")

    assert done.returncode == 1
    assert "settings.txt:1: Root secret of this service" in done.stdout
    assert secret not in done.stdout + done.stderr


def test_a_named_file_is_looked_at_before_anything_is_committed(owned: Project) -> None:
    owned.write("notes.txt", made(owned, NEW_KEY))

    assert owned.run(*SCAN, "README.md", "notes.txt").returncode == 1
    assert owned.run(*SCAN, "README.md").returncode == 0


@pytest.mark.parametrize("name", ["--load-builtins=false", "--skip-regex=."])
def test_a_file_is_never_taken_for_an_option(owned: Project, name: str) -> None:
    owned.write(name, "Nothing.\n")
    owned.write("notes.txt", made(owned, NEW_KEY))

    assert owned.run(*SCAN, name, "notes.txt").returncode == 1
    assert owned.run(*SCAN, name).returncode == 0


def test_a_file_that_is_not_there_is_no_clean_one(owned: Project) -> None:
    assert owned.run(*SCAN, "nowhere.txt").returncode == 1


def test_what_only_looks_like_a_key_is_none(owned: Project) -> None:
    """Its checksum is wrong, so it was never issued: so tests may hold such."""
    key = made(owned, NEW_KEY)
    owned.write("notes.txt", key[:-1] + ("a" if key[-1] != "a" else "b"))

    assert owned.run(*SCAN, "notes.txt").returncode == 0


def test_a_comment_hides_nothing(owned: Project) -> None:
    owned.write("notes.py", f"KEY = '{made(owned, NEW_KEY)}'  # kingfisher:ignore\n")

    assert owned.run(*SCAN, "notes.py").returncode == 1


ADDRESSES = {
    "postgresql://tests:tests@127.0.0.1/tests": 0,
    '"postgresql://tests:tests@127.0.0.1/tests"': 0,
    "postgresql://tests:tests@127.0.0.1/tests # of CI": 0,
    # What stands beside it belongs to the same finding.
    "postgresql://tests:tests@127.0.0.1/tests,postgresql://app:hunter22@10.1.2.3/app": 1,
    "postgresql://tests:tests@127.0.0.1/tests?password=hunter22": 1,
    "postgresql://tests:tests@127.0.0.1/tests-of-production": 1,
    "postgresql://tests:hunter22@127.0.0.1/tests": 1,
    "postgresql://tests:tests@10.1.2.3/tests": 1,
    "postgresql://app:hunter22@10.1.2.3/app": 1,
}


@pytest.mark.parametrize(("address", "code"), ADDRESSES.items())
def test_only_the_database_of_a_ci_machine_has_a_known_password(owned: Project, address: str, code: int) -> None:
    owned.write("database.yml", f"url: {address}\n")

    assert owned.run(*SCAN, "database.yml").returncode == code


def test_a_branch_that_nobody_merged_is_scanned(owned: Project) -> None:
    owned.must("git", "checkout", "--quiet", "-b", "idea")
    owned.write("notes.txt", made(owned, NEW_KEY))
    owned.commit()
    owned.must("git", "checkout", "--quiet", "-")

    assert run_job(owned, "secrets").returncode == 1


@pytest.mark.parametrize("command", [("commit", "--allow-empty", "--quiet"), ("tag", "--annotate", "v1")])
def test_what_is_written_of_a_commit_or_a_tag_is_scanned(owned: Project, command: tuple[str, ...]) -> None:
    owned.must("git", *command, "--message", f"It works with {made(owned, NEW_KEY)}")

    done = run_job(owned, "secrets")

    assert done.returncode == 1
    assert "a message of a commit or tag, line" in done.stdout


def test_a_committed_secret_may_be_waived_for_a_year(owned: Project) -> None:
    """A commit cannot be changed: the scan finds its secret for ever."""
    owned.write("notes.txt", made(owned, NEW_KEY))
    owned.commit()
    owned.file("notes.txt").unlink()
    owned.commit()
    (name,) = set(re.findall(r"\[(.+)\]$", run_job(owned, "secrets").stdout, re.MULTILINE))
    waive(owned, id=name, tool="kingfisher", reason="It is revoked.", owner="jane", expires=in_days(366))

    done = run_job(owned, "secrets")

    assert done.returncode == 0
    assert f"(waived by jane until {in_days(366)})" in done.stdout


def test_half_a_history_is_refused(owned: Project, tmp_path: Path) -> None:
    owned.append("README.md", "More.\n")
    owned.commit()
    shallow = tmp_path / "shallow"
    subprocess.run(["git", "clone", "--quiet", "--depth=1", f"file://{owned.path}", str(shallow)], check=True)

    done = run_job(Project(shallow, owned.environment), "secrets")

    assert done.returncode == 1
    assert "this is a shallow clone" in done.stderr


def test_no_history_is_refused(owned: Project, tmp_path: Path) -> None:
    owned.file(".git").rename(tmp_path / "elsewhere")
    no_git = run_job(owned, "secrets", GIT_CEILING_DIRECTORIES=str(owned.path.parent))
    owned.must("git", "init", "--quiet")
    no_commit = run_job(owned, "secrets")

    assert (no_git.returncode, no_commit.returncode) == (1, 1)
    assert "this is no git repository" in no_git.stderr
    assert "no commit is here" in no_commit.stderr


def test_rules_that_cannot_be_read_stop_the_scan(owned: Project) -> None:
    owned.replace(".github/security/secret_rules.yml", "rules:", "rules: [")

    done = run_job(owned, "secrets")

    assert done.returncode == 1
    assert "kingfisher failed" in done.stderr


def test_a_second_checkout_is_scanned_like_the_first(owned: Project, tmp_path: Path) -> None:
    owned.must("git", "worktree", "add", "--quiet", str(tmp_path / "second"))
    second = Project(tmp_path / "second", owned.environment)
    clean = run_job(second, "secrets")
    second.write("notes.txt", made(owned, NEW_KEY))
    second.commit()

    assert (clean.returncode, run_job(second, "secrets").returncode) == (0, 1)
