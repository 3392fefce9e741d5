"""Our own workflows and what surrounds them: valid, without findings, and every check of them bites."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from hooks import check_workflows
from tests.rendering import ROOT, Template
from tests.variants import ALL

HOOKS: list[dict[str, Any]] = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"][0]["hooks"]
ZIZMOR = next(hook["entry"] for hook in HOOKS if hook["id"] == "zizmor").removeprefix("uv run ").split()
WORKFLOWS = list(check_workflows.workflows(ROOT))
NAMES = [path for path in WORKFLOWS if not path.startswith("template/")]

CHECKOUT = "actions/checkout@3d3c42e5aac5ba805825da76410c181273ba90b1 # v7.0.1"
RUN = "run: bash .ci/run\n"
INJECTION = 'run: echo "${{ github.event.pull_request.title }}"\n'


@pytest.fixture
def scratch(tmp_path: Path) -> Path:
    """What the checks of workflows look at, to be spoilt."""
    for folder in (".github", "template/.github"):
        shutil.copytree(ROOT / folder, tmp_path / folder)
    shutil.copy(ROOT / ".pre-commit-config.yaml", tmp_path)
    return tmp_path


@pytest.fixture
def ci(scratch: Path) -> Callable[[str, str], None]:
    """Edit ci.yml of the copy; the place has to be there."""
    path = scratch / ".github/workflows/ci.yml"

    def edit(old: str, new: str) -> None:
        assert old in path.read_text()
        path.write_text(path.read_text().replace(old, new, 1))

    return edit


def _run(command: list[str], folder: Path = ROOT) -> subprocess.CompletedProcess[str]:
    found = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return subprocess.run(command, cwd=folder, env=os.environ | {"PATH": found}, capture_output=True, text=True)


def test_every_workflow_keeps_our_rules_and_every_pin_is_in_the_table(capsys: pytest.CaptureFixture[str]) -> None:
    assert check_workflows.main() == 0, capsys.readouterr().out
    assert len(check_workflows.pins(check_workflows.workflows(ROOT))) > 2


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (CHECKOUT, "actions/checkout@v7.0.1", "pin by a full commit"),
        (CHECKOUT, "actions/checkout@3d3c42e # v7.0.1", "pin by a full commit"),
        (CHECKOUT, CHECKOUT.partition(" #")[0], "pin by a full commit"),
        (CHECKOUT, CHECKOUT.replace("v7.0.1", "v7.0.2"), "the table lacks | actions/checkout | v7.0.2"),
        (CHECKOUT, CHECKOUT.replace("3d3c", "4d3c"), "actions/checkout is pinned in two ways"),
        ("permissions: {}", "permissions: read-all", "say `permissions: {}`"),
        ("concurrency:", "env:", "say what happens when it is started twice"),
        ("  pull_request:\n", "  pull_request_target:\n", "is started by pull_request_target"),
        ("    timeout-minutes: 10\n", "", "job quick: has no timeout-minutes"),
        ("    permissions:\n      contents: read\n", "", "job quick: has no permissions"),
        ("persist-credentials: false", "fetch-tags: true", "checkout leaves its token"),
        (RUN, INJECTION, "an expression in `run`"),
    ],
)
def test_a_workflow_that_breaks_a_rule_is_named(
    scratch: Path, ci: Callable[[str, str], None], capsys: pytest.CaptureFixture[str], old: str, new: str, said: str
) -> None:
    ci(old, new)

    assert check_workflows.main(scratch) == 1
    assert said in capsys.readouterr().out


def test_a_row_of_an_action_that_nobody_uses_is_named_and_rewritten(
    scratch: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = scratch / ".github/CONTRIBUTING.md"
    before = path.read_text()
    header = "| Action | Version | Commit |\n|---|---|---|\n"
    path.write_text(before.replace(header, f"{header}| actions/cache | v9.0.0 | `{'0' * 40}` |\n"))

    assert check_workflows.main(scratch) == 1
    assert "no workflow uses | actions/cache" in capsys.readouterr().out
    assert check_workflows.main(scratch, "--write") == 0
    assert path.read_text() == before


def test_zizmor_finds_nothing() -> None:
    done = _run(ZIZMOR)

    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(
    ("old", "new", "audit"),
    [
        (CHECKOUT, "actions/checkout@v7.0.1", "unpinned-uses"),
        (RUN, INJECTION, "template-injection"),
        ("    permissions:\n      contents: read\n", "    permissions: write-all\n", "excessive-permissions"),
    ],
)
def test_zizmor_finds_what_is_planted(
    scratch: Path, ci: Callable[[str, str], None], old: str, new: str, audit: str
) -> None:
    ci(old, new)

    done = _run(ZIZMOR, scratch)

    assert done.returncode > 0
    assert f"[{audit}]" in done.stdout


def test_zizmor_looks_at_the_workflows_of_generated_projects_too(scratch: Path) -> None:
    with (scratch / "template/.github/workflows/ci.yml").open("a") as file:
        file.write(f"      - {INJECTION}")

    assert _run(ZIZMOR, scratch).returncode > 0


@pytest.mark.skipif(shutil.which("actionlint") is None, reason="the first job of CI installs it")
def test_actionlint_finds_nothing() -> None:
    done = _run(["actionlint", *WORKFLOWS])

    assert done.returncode == 0, done.stdout


def test_the_first_job_of_ci_runs_actionlint_on_every_workflow() -> None:
    steps = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text())["jobs"]["quick"]["steps"]

    linted = [step["run"] for step in steps if "actionlint actionlint" in step.get("run", "")]

    assert [{f"{folder}/*.yml" for folder in check_workflows.FOLDERS} <= set(run.split()) for run in linted] == [True]
    assert [path for path in WORKFLOWS if not path.endswith(".yml")] == []


def _valid(schema: str, *paths: Path | str) -> subprocess.CompletedProcess[str]:
    """Against the schema that comes with check-jsonschema."""
    return _run(["check-jsonschema", "--builtin-schema", f"vendor.{schema}", *map(str, paths)])


@pytest.mark.parametrize(
    ("schema", "paths"),
    [
        ("github-workflows", WORKFLOWS),
        ("dependabot", [".github/dependabot.yml"]),
        ("github-issue-forms", [".github/ISSUE_TEMPLATE/bug.yml", ".github/ISSUE_TEMPLATE/feature.yml"]),
        ("github-issue-config", [".github/ISSUE_TEMPLATE/config.yml"]),
    ],
)
def test_what_github_reads_has_the_shape_that_it_expects(schema: str, paths: list[str]) -> None:
    done = _valid(schema, *paths)

    assert done.returncode == 0, done.stdout


def test_renovate_json_of_a_generated_project_has_the_shape_that_renovate_expects(template: Template) -> None:
    done = _valid("renovate", template.render(**ALL).file("renovate.json"))

    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(
    ("schema", "name", "old", "new"),
    [
        ("github-workflows", ".github/workflows/ci.yml", "timeout-minutes", "timeout"),
        ("dependabot", ".github/dependabot.yml", "default-days", "days"),
        ("github-issue-forms", ".github/ISSUE_TEMPLATE/bug.yml", "type: textarea", "type: text"),
        ("github-issue-config", ".github/ISSUE_TEMPLATE/config.yml", "blank_issues_enabled", "blank_issues"),
        ("renovate", "template/renovate.json", '"minimumReleaseAge": "7 days"', '"minimumReleaseAge": 7'),
    ],
)
def test_another_shape_is_refused(tmp_path: Path, schema: str, name: str, old: str, new: str) -> None:
    text = (ROOT / name).read_text()
    assert old in text
    spoilt = tmp_path / Path(name).name
    spoilt.write_text(text.replace(old, new, 1))

    assert _valid(schema, spoilt).returncode == 1


def test_what_may_write_runs_nothing_of_this_repository() -> None:
    """A release is signed and tagged by a job that installs nothing and checks nothing out."""
    jobs = yaml.safe_load((ROOT / ".github/workflows/release.yml").read_text())["jobs"]

    writing = {name: job for name, job in jobs.items() if "write" in job["permissions"].values()}

    assert [job["environment"] for job in writing.values()] == ["release"]
    used = {step["uses"].partition("@")[0] for job in writing.values() for step in job["steps"] if "uses" in step}
    assert used == {"actions/download-artifact", "actions/attest"}
    assert "uv " not in json.dumps(writing)


def test_one_job_waits_for_all_the_others_and_protects_the_branch() -> None:
    jobs = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text())["jobs"]

    passed = jobs.pop("passed")

    assert set(passed["needs"]) == jobs.keys()
    assert passed["if"] == "always()"
    assert [step["run"] for step in passed["steps"]] == [f'test "$RESULTS" = "{" ".join("success" for _ in jobs)}"']
