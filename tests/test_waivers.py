""".github/waivers.toml silences one finding until a day, and never anything by accident."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.pipelines import commands, red, run_job, waive
from tests.rendering import Project, Template

pytestmark = pytest.mark.rotating(5)

FAULT = '\nSECRET_KEY = "x"\n'
ID = "B105:app/api/notes.py"
JOBS = {"bandit": "code", "kingfisher": "secrets", "zizmor": "workflows", "pip-audit": "dependencies"}


def in_days(days: int) -> str:
    return str(datetime.now(UTC).date() + timedelta(days))


def entry(**fields: str) -> dict[str, str]:
    usual = {"id": ID, "tool": "bandit", "reason": "An example.", "owner": "jane@example.com", "expires": in_days(30)}
    return usual | fields


def test_a_waived_finding_is_said_and_fails_nothing(owned: Project) -> None:
    owned.append("app/api/notes.py", FAULT)
    waive(owned, **entry())

    done = run_job(owned, "code")

    assert done.returncode == 0
    assert f"[{ID}]  (waived by jane@example.com until {in_days(30)})" in done.stdout


@pytest.mark.parametrize(
    "named", [{"id": "B105:app/main.py"}, {"id": "B107:app/api/notes.py"}, {"tool": "zizmor"}, {"id": "*"}]
)
def test_a_waiver_is_of_what_it_names_alone(owned: Project, named: dict[str, str]) -> None:
    owned.append("app/api/notes.py", FAULT)
    waive(owned, **entry(**named))

    assert red(owned).keys() == {"code"}


@pytest.mark.parametrize(("tool", "job"), JOBS.items())
def test_an_expired_waiver_fails_the_job_of_its_tool_even_without_its_finding(
    owned: Project, tool: str, job: str
) -> None:
    waive(owned, **entry(id="old", tool=tool, expires=in_days(-1)))

    done = run_job(owned, job)

    assert done.returncode == 1
    expected = f"waivers.toml: old expired on {in_days(-1)}: fix it, or jane@example.com renews it"
    assert done.stderr.splitlines() == [expected]
    assert red(owned).keys() == {job} - {"dependencies"}


@pytest.mark.parametrize("days", [0, 90])
def test_the_first_and_the_last_day_count(owned: Project, days: int) -> None:
    waive(owned, **entry(expires=in_days(days)))

    assert red(owned) == {}


WRONG: dict[str, tuple[Callable[[Project], None], str]] = {
    "too long": (
        lambda project: waive(project, **entry(expires=in_days(91))),
        f"{ID} expires more than 90 days ahead",
    ),
    "too long for a secret": (
        lambda project: waive(project, **entry(tool="kingfisher", expires=in_days(367))),
        f"{ID} expires more than 366 days ahead",
    ),
    "an unknown field": (lambda project: waive(project, **entry(until="ever")), "waiver.0.until: "),
    "an empty reason": (lambda project: waive(project, **entry(reason="  ")), "waiver.0.reason: "),
    "a day in quotes": (lambda project: waive(project, **entry(expires="'2027-01-31'")), "waiver.0.expires: "),
    "a time": (lambda project: waive(project, **entry(expires="2027-01-31T00:00:00Z")), "waiver.0.expires: "),
    "an unknown tool": (lambda project: waive(project, **entry(tool="eslint")), "waiver.0.tool: "),
    "no id": (lambda project: waive(project, tool="bandit"), "waiver.0.id: Field required"),
    "another table": (lambda project: project.append(".github/waivers.toml", "[waivers]\n"), "waivers: "),
    "no tables": (lambda project: project.append(".github/waivers.toml", "waiver = [1]\n"), "waiver.0: "),
    "no TOML": (lambda project: project.append(".github/waivers.toml", "waiver\n"), "waivers.toml: "),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_what_is_not_understood_fails_with_one_line_that_names_it(owned: Project, wrong: str) -> None:
    write, said = WRONG[wrong]
    write(owned)

    done = owned.run("python", ".github/security/waivers.py")

    assert done.returncode == 1
    assert said in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert run_job(owned, "code").returncode == 1


def test_every_job_reads_them(owned: Project) -> None:
    owned.append(".github/waivers.toml", "waiver\n")

    failed = {job: run_job(owned, job) for job in JOBS.values()}

    assert {job: done.returncode for job, done in failed.items()} == dict.fromkeys(JOBS.values(), 1)
    assert all("waivers.toml: " in done.stderr for done in failed.values())
    assert all(len(commands(owned, job)) == 1 for job in JOBS.values())


@pytest.mark.slow
@pytest.mark.parametrize("answers", [{}, {"bandit": False}, {"zap": False, "roles": ""}], ids=str)
def test_no_update_touches_them(runnable: Template, tmp_path: Path, answers: dict[str, object]) -> None:
    fork = runnable.fork(tmp_path / "template")
    project = fork.copy(tmp_path / "project")
    waive(project, **entry())
    project.commit()
    before = project.read(".github/waivers.toml")
    Project(fork.path).append("template/.github/waivers.toml", "# said in the next version\n")
    fork.release("v9999.1.0")

    fork.update(project, **answers)

    assert project.read(".github/waivers.toml") == before
    assert "v9999.1.0" in project.read(".copier-answers.yml")


@pytest.mark.slow
def test_a_project_of_the_first_release_gets_an_empty_file(runnable: Template, tmp_path: Path) -> None:
    project = runnable.at("v0.1.0").copy(tmp_path / "project")
    project.commit()

    runnable.update(project)

    assert project.must("python", ".github/security/waivers.py") == ""
    assert all(line.startswith("#") for line in project.read(".github/waivers.toml").splitlines())
