"""The dependency audit fails on an advisory, and on everything that keeps it from knowing one.

The databases cannot be reached from everywhere, so what they say is judged from reports: pip-audit 2.10.1 wrote the one
below, asked about the version of python-multipart that CVE-2026-42561 is about.
"""

import importlib
import json
import sys
import tomllib
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import pytest

from tests.pipelines import run_job, waive
from tests.rendering import TEMPLATE, Project
from tests.test_waivers import in_days

LOCKED = {("python-multipart", "0.0.22"), ("six", "1.17.0"), ("colorama", "0.4.6")}
RECORDED: dict[str, Any] = json.loads(
    '{"dependencies": [{"name": "python-multipart", "version": "0.0.22", "vulns": [{"id": "GHSA-pp6c-gr5w-3c5g", '
    '"fix_versions": ["0.0.27"], "aliases": ["CVE-2026-42561"]}]}, {"name": "six", "version": "1.17.0", "vulns": []}, '
    '{"name": "colorama", "version": "0.4.6", "vulns": []}], "fixes": []}'
)
OFFLINE = dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"), "http://127.0.0.1:9")
# Stands in for pip-audit: responds as its databases would.
STAND_IN = """
import json, os, pathlib, sys, tomllib

lock = tomllib.loads(pathlib.Path(sys.argv[sys.argv.index("--locked") + 1], "pylock.toml").read_text())
found = json.loads(os.environ.get("ADVISORIES", "{}"))
known = {"osv": found} if os.environ.get("ONLY_OSV_KNOWS") else dict.fromkeys(("osv", "pypi"), found)
here = known.get(sys.argv[sys.argv.index("--vulnerability-service") + 1], {})
pinned = [(package["name"], package["version"]) for package in lock["packages"]]
entries = [{"name": name, "version": version, "vulns": here.get(name, [])} for name, version in pinned]
print(json.dumps({"dependencies": [] if os.environ.get("NOTHING") else entries, "fixes": []}))
sys.exit(1 if here else 0)
"""
READ_BY_PIP_AUDIT = """
import sys
from pathlib import Path

sys.path.insert(0, ".github/security")
from audit_dependencies import export
from pip_audit._dependency_source import PyLockSource

export(Path("pylock.toml"), [])
for found in PyLockSource([Path("pylock.toml")]).collect():
    print(found.name, found.version)
"""
ADVISORY = {"python-multipart": RECORDED["dependencies"][0]["vulns"]}


@pytest.fixture
def audit(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """The module as it lies in the template."""
    monkeypatch.syspath_prepend(TEMPLATE / ".github/security")
    yield importlib.import_module("audit_dependencies")
    for name in ("audit_dependencies", "waivers"):
        del sys.modules[name]


def test_an_advisory_of_a_recorded_report_is_a_finding(audit: ModuleType) -> None:
    (finding,) = audit.judge(RECORDED, LOCKED)

    assert finding.id == "CVE-2026-42561"
    assert finding.text == "python-multipart 0.0.22: CVE-2026-42561, GHSA-pp6c-gr5w-3c5g; fixed in 0.0.27"


FIRST, SECOND, OTHERS = RECORDED["dependencies"]
INCOMPLETE = {
    "nothing": [],
    "not everything": [FIRST, OTHERS],
    "nothing of other machines": [FIRST, SECOND],
    "another version": [FIRST, SECOND | {"version": "1.16.0"}, OTHERS],
    "one was skipped": [FIRST, {"name": "six", "skip_reason": "not found"}, OTHERS],
}


@pytest.mark.parametrize("report", INCOMPLETE)
def test_a_report_that_does_not_cover_the_lock_is_refused(audit: ModuleType, report: str) -> None:
    with pytest.raises(SystemExit, match="audited"):
        list(audit.judge({"dependencies": INCOMPLETE[report]}, LOCKED))


def test_a_lock_without_a_package_is_refused(audit: ModuleType) -> None:
    with pytest.raises(SystemExit, match="the lock is empty"):
        list(audit.judge({"dependencies": []}, set()))


def test_it_fails_where_a_database_cannot_be_asked(owned: Project) -> None:
    done = run_job(owned, "dependencies", **OFFLINE)

    assert done.returncode == 1
    assert done.stderr.startswith("pip-audit could not query pypi: ")
    assert len(done.stderr.splitlines()) == 1


@pytest.fixture
def answered(owned: Project) -> Project:
    """A project beside which a stand-in for pip-audit lies."""
    owned.write("stand-in/pip_audit.py", STAND_IN)
    return owned


def audited(project: Project, **said: Any) -> tuple[int, str]:
    variables = {name: value if isinstance(value, str) else json.dumps(value) for name, value in said.items()}
    done = run_job(project, "dependencies", PYTHONPATH="stand-in", **variables)
    return done.returncode, done.stdout + done.stderr


def test_a_lock_without_an_advisory_passes(answered: Project) -> None:
    assert audited(answered) == (0, "pip-audit: no findings without a waiver\n")


def test_a_lock_that_does_not_fit_is_not_brought_in_step(answered: Project) -> None:
    answered.replace("pyproject.toml", '    "typer>=', '    "six",\n    "typer>=')

    done = answered.run("python", ".github/security/audit_dependencies.py", PYTHONPATH="stand-in")

    assert done.returncode == 1
    assert "uv.lock cannot be read" in done.stderr


def test_an_advisory_fails_until_it_is_waived_by_its_best_known_name(answered: Project) -> None:
    code, said = audited(answered, ADVISORIES=ADVISORY)
    waive(
        answered, id="CVE-2026-42561", tool="pip-audit", reason="No form is parsed.", owner="jane", expires=in_days(9)
    )
    waived, _ = audited(answered, ADVISORIES=ADVISORY)

    assert (code, waived) == (1, 0)
    assert said.count("[CVE-2026-42561]") == 1


def test_what_only_one_database_knows_counts(answered: Project) -> None:
    assert audited(answered, ADVISORIES=ADVISORY, ONLY_OSV_KNOWS="1")[0] == 1


def test_a_report_about_nothing_fails_whatever_its_exit_code(answered: Project) -> None:
    code, said = audited(answered, NOTHING="1")

    assert code == 1
    assert "not every package was audited" in said


def test_the_tools_of_development_are_audited_too(answered: Project) -> None:
    assert audited(answered, ADVISORIES={"pytest": ADVISORY["python-multipart"]})[0] == 1


def test_what_other_machines_alone_install_is_audited_too(answered: Project) -> None:
    assert "sys_platform == 'win32'" in answered.read("uv.lock")

    code, said = audited(answered, ADVISORIES={"colorama": ADVISORY["python-multipart"]})

    assert code == 1
    assert "colorama " in said


def test_pip_audit_gets_every_version_of_everything_that_the_lock_holds(owned: Project) -> None:
    """Some are there twice, for older and newer Pythons."""
    owned.replace(
        "pyproject.toml", "[project.scripts]", '[project.optional-dependencies]\nmore = ["six"]\n\n[project.scripts]'
    )
    owned.must("uv", "lock", "--quiet")
    locked = [entry for entry in tomllib.loads(owned.read("uv.lock"))["package"] if "registry" in entry["source"]]

    taken = owned.must("python", "-c", READ_BY_PIP_AUDIT).splitlines()

    assert sorted(taken) == sorted(f"{entry['name']} {entry['version']}" for entry in locked)
    assert len({entry["name"] for entry in locked}) < len(locked)
    assert "six" in {entry["name"] for entry in locked}


def test_a_package_that_no_database_can_know_is_left_out_by_a_waiver(answered: Project) -> None:
    waive(answered, id="not-audited:pytest", tool="pip-audit", reason="It is ours.", owner="jane", expires=in_days(9))

    assert audited(answered, ADVISORIES={"pytest": ADVISORY["python-multipart"]})[0] == 0
