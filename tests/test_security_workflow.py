"""What the generated workflows are made of: few rights, pinned actions, commands that everybody can type."""

import re
import subprocess
import sys
from collections.abc import Iterator
from itertools import product
from typing import Any

import pytest

from tests.pipelines import commands, jobs, workflow
from tests.rendering import Project, Template
from tests.variants import ALL

PIPELINES = [{"bandit": bandit, "zap": zap} for bandit, zap in product((True, False), repeat=2)]
answered = pytest.mark.parametrize("answers", PIPELINES, ids=str)
PINNED = re.compile(r"[\w.-]+(/[\w.-]+)+@[0-9a-f]{40} # v\d+\.\d+\.\d+")
EVERY_DAY = ("code", "dependencies", "secrets", "workflows")
NAMED = "Xyzzy Service"
# The question and its answer, a tool among others.
MAY_NAME_IT = {
    ".copier-answers.yml",
    ".github/security/waivers.py",
    ".github/waivers.toml",
    "docs/security/not-provided.md",
}


@pytest.fixture
def project(template: Template) -> Project:
    return template.render(**ALL)


def texts(project: Project) -> dict[str, str]:
    return {name: text.decode() for name, text in project.files().items() if name.startswith(".github/workflows/")}


def steps(project: Project) -> Iterator[dict[str, Any]]:
    for name in texts(project):
        for job in jobs(project, name.removeprefix(".github/workflows/").removesuffix(".yml")).values():
            yield from job["steps"]


@answered
def test_zizmor_finds_nothing_however_picky_it_is(runnable: Template, answers: dict[str, bool]) -> None:
    picky = ("--persona", "pedantic", "--no-ignores", "--no-config", "--strict-collection")

    done = runnable.render(**ALL | answers).run("zizmor", "--offline", "--quiet", *picky, ".")

    assert done.returncode == 0, done.stdout
    assert "No findings to report" in done.stdout


@answered
def test_they_are_what_github_takes_for_a_workflow(template: Template, answers: dict[str, bool]) -> None:
    project = template.render(**ALL | answers)
    check = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.github-workflows"]

    done = subprocess.run([*check, *texts(project)], cwd=project.path, capture_output=True, text=True)

    assert done.returncode == 0, done.stdout


def test_the_scans_run_for_every_change_and_every_day(project: Project) -> None:
    triggers = workflow(project)[True]  # YAML 1.1 reads "on" so

    assert triggers.keys() == {"pull_request", "push", "schedule", "workflow_dispatch"}
    assert triggers["push"] == {"branches": ["main"], "tags": ["v*"]}
    assert [name for name in EVERY_DAY if "if" in jobs(project)[name]] == []


def test_a_newer_template_is_looked_for_once_a_day_alone(project: Project) -> None:
    condition = jobs(project)["template"]["if"]

    assert condition == "github.event_name == 'schedule' || github.event_name == 'workflow_dispatch'"


def test_only_a_tag_is_signed(project: Project) -> None:
    found = jobs(project)

    assert found["release"]["if"] == "github.event_name == 'push' && startsWith(github.ref, 'refs/tags/v')"
    assert found["provenance"]["needs"] == "release"  # skipped with it
    assert "if" not in found["provenance"]


def test_what_may_sign_installs_nothing_and_runs_no_file_of_this_project(project: Project) -> None:
    """Else any package of the environment could ask for this workflow's identity and sign something else with it."""
    packed, signing = jobs(project)["release"], jobs(project)["provenance"]
    (handed_over,) = [step["with"] for step in packed["steps"] if "upload-artifact@" in step.get("uses", "")]
    taken = signing["steps"][0]["with"]

    used = [step.get("uses", step.get("run")).partition("@")[0] for step in signing["steps"]]

    assert used == ["actions/download-artifact", "actions/attest", "actions/attest"]
    assert set(packed["permissions"].values()) == {"read"}
    assert handed_over["name"] == taken["name"]
    assert handed_over["path"].rstrip("/") == taken["path"]
    assert {step["with"]["subject-path"] for step in signing["steps"][1:]} == {f"{taken['path']}/source.tar.gz"}


def test_no_job_may_do_more_than_it_says_and_none_runs_for_ever(project: Project) -> None:
    for name in ("security", "ci"):
        assert workflow(project, name)["permissions"] == {}
        assert workflow(project, name)["concurrency"]["cancel-in-progress"] is True
        for job in jobs(project, name).values():
            assert job["permissions"].get("contents", "none") in ("read", "none")
            assert 0 < job["timeout-minutes"] <= 90
    granted = {name: job["permissions"].items() for name, job in jobs(project).items()}
    writing = {name: {right for right, kind in rights if kind != "read"} for name, rights in granted.items()}
    assert {name: rights for name, rights in writing.items() if rights} == {
        "provenance": {"id-token", "attestations"},
        "template": {"issues"},
    }


def test_every_action_is_one_commit_and_says_its_version(project: Project) -> None:
    for name, text in texts(project).items():
        used = re.findall(r"uses: (.*)", text)
        assert used, name
        assert [line for line in used if not PINNED.fullmatch(line)] == []


def test_no_checkout_leaves_its_token_behind(project: Project) -> None:
    checkouts = [step for step in steps(project) if str(step.get("uses", "")).startswith("actions/checkout@")]

    assert checkouts
    assert [step for step in checkouts if step["with"]["persist-credentials"] is not False] == []


def test_the_whole_history_is_fetched_where_it_is_scanned(project: Project) -> None:
    checkout = jobs(project)["secrets"]["steps"][0]

    assert checkout["with"]["fetch-depth"] == 0


def test_no_expression_stands_in_a_command(project: Project) -> None:
    assert [step["run"] for step in steps(project) if "${{" in step.get("run", "")] == []


def test_the_projects_name_stands_in_no_workflow(template: Template) -> None:
    named = template.render(**ALL | {"project_name": NAMED})

    assert "Xyzzy" in named.read("README.md")
    assert [name for name, text in texts(named).items() if "xyzzy" in text.lower()] == []


@answered
def test_each_job_is_the_one_command_that_is_documented(template: Template, answers: dict[str, bool]) -> None:
    project = template.render(**ALL | answers)
    documented = {line.partition("#")[0].strip() for line in project.read("docs/security/operations.md").splitlines()}
    scans = [name for name in EVERY_DAY if name in jobs(project)]

    typed = {name: commands(project, name) for name in scans}

    assert ("code" in scans) == answers["bandit"]
    assert {name: found for name, found in typed.items() if len(found) != 1 or found[0] not in documented} == {}


@pytest.mark.parametrize("bandit", [True, False])
def test_bandit_leaves_no_trace_where_it_is_not_wanted(template: Template, bandit: bool) -> None:
    project = template.render(**ALL | {"bandit": bandit})
    speak_of_it = {name for name, text in project.files().items() if re.search(rb"scan_code|bandit", text, re.I)}

    traces = speak_of_it - MAY_NAME_IT

    assert bool(traces) == bandit
    assert ("(`bandit`)" in project.read("docs/security/not-provided.md")) != bandit
