"""The ZAP job's command, from starting the service to the exit code; a stand-in makes the requests (no Docker here)."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from tests.nightly import rows
from tests.rendering import ROOT, Project, Template
from tests.variants import ALL, COMBINATIONS, SMALLEST

pytestmark = [pytest.mark.slow, pytest.mark.server, pytest.mark.rotating(5)]

SCAN = ".github/security/zap_scan.py"
VARIANTS = {
    "all": ALL,
    "keys only": SMALLEST["keys alone"] | {"zap": True},
    "logins only": COMBINATIONS["no_api_keys"],
}
ROUTE = """
from fastapi import FastAPI, Request, Response
from fastapi.responses import HTMLResponse, JSONResponse, PlainTextResponse

from app.security.identity import public


def add(app: FastAPI) -> None:
    @app.get("/planted", dependencies=[public])
    async def planted(request: Request, word: str = "word") -> Response:
"""
EXCEPTION_TEXT = """
        try:
            raise ValueError("no such column: hash")
        except ValueError as error:
            return JSONResponse({"error": repr(error)}, 500)
"""
ANY_ORIGIN = """
        return JSONResponse({}, headers={"Access-Control-Allow-Origin": request.headers.get("origin", "")})
"""
WILDCARD = """
        return JSONResponse({}, headers={"Access-Control-Allow-Origin": "*"})
"""
UNREACHABLE = """
        return JSONResponse({}, 422)
"""
PAGE_OF_ERRORS = """
        return PlainTextResponse("Traceback (most recent call last):")
"""

Scanned = Callable[[Project], tuple[int, str]]


@pytest.fixture
def scanned(tmp_path: Path) -> Scanned:
    """Run the job's command, with the stand-in where ZAP's own scan would be."""
    return lambda service: scanned_by("zap_stand_in.py", tmp_path / "programs", service)


def scanned_by(scanner: str, programs: Path, service: Project) -> tuple[int, str]:
    """Run the job's command, with a program of ours where ZAP's own scan would be."""
    assert service.environment
    programs.mkdir(exist_ok=True)
    shutil.copy(ROOT / "tests" / scanner, programs / "zap-api-scan.py")
    (programs / "zap-api-scan.py").chmod(0o755)
    found = os.pathsep.join([str(programs), service.environment.variables()["PATH"]])
    done = service.run("python", SCAN, PATH=found, PYTHONPATH=str(service.path))
    return done.returncode, done.stdout + done.stderr


@pytest.fixture
def planted(project: Callable[..., Project]) -> Callable[[str], Project]:
    """The smallest project, with one more route."""
    return lambda body: plant(project(**VARIANTS["keys only"]), body)


def plant(service: Project, body: str) -> Project:
    service.write("app/api/planted.py", ROUTE.strip() + "\n" + body.strip("\n") + "\n")
    service.replace("app/main.py", "from app.api import notes\n", "from app.api import notes, planted\n")
    service.replace("app/main.py", "    secure(app)\n", "    planted.add(app)\n    secure(app)\n")
    return service


@pytest.mark.parametrize("variant", rows(VARIANTS, now=["all"]))
def test_a_new_project_passes_and_the_scan_reaches_every_operation(
    project: Callable[..., Project], scanned: Scanned, variant: str
) -> None:
    code, printed = scanned(project(**VARIANTS[variant]))

    assert code == 0, printed
    assert "zap: no findings without a waiver" in printed
    assert "was not reached" not in printed


@pytest.mark.parametrize(
    ("body", "complaint"),
    [
        (EXCEPTION_TEXT, "GET /planted answered 500"),
        (PAGE_OF_ERRORS, "Application Error Disclosure at GET"),
        (ANY_ORIGIN, "a page of any origin may read the response of GET /planted"),
        (WILDCARD, "Cross-Domain Misconfiguration at GET"),
        (UNREACHABLE, "operations reached; not GET /planted"),
    ],
    ids=["exception text", "trace of an error", "any origin", "a wildcard", "unreachable"],
)
def test_a_planted_fault_fails(planted: Callable[[str], Project], scanned: Scanned, body: str, complaint: str) -> None:
    code, printed = scanned(planted(body))

    assert code == 1, printed
    assert complaint in printed


def test_settings_of_your_own_come_from_a_file(planted: Callable[[str], Project], scanned: Scanned) -> None:
    service = planted("        return JSONResponse({})")
    service.append("app/api/planted.py", '\n\nimport os\n\nADDRESS = os.environ["SHOP_ADDRESS"]\n')

    assert scanned(service)[0] == 1
    service.write(".github/zap.env", "SHOP_ADDRESS=https://shop.invalid\n")
    assert scanned(service)[0] == 0


def test_a_service_that_does_not_start_fails_with_its_log(planted: Callable[[str], Project], scanned: Scanned) -> None:
    service = planted("        return JSONResponse({})")
    service.append("app/api/planted.py", '\n\nimport os\n\nassert "ZAP_SCAN" not in os.environ, "no start today"\n')

    code, printed = scanned(service)

    assert code == 1
    assert "The service does not respond with production's settings" in printed
    assert "no start today" in printed


def test_without_zap_it_fails_and_says_what_to_do(project: Callable[..., Project]) -> None:
    service = project()
    assert service.environment

    done = service.run("python", SCAN, PATH=str(service.environment.path / "bin"), PYTHONPATH=str(service.path))

    assert done.returncode == 1
    assert done.stderr == (
        "ZAP is not installed: install Docker, or put zap-api-scan.py on the PATH. Nothing was scanned.\n"
    )


# Stands in for Docker: in the container ZAP finds files by their names in /zap/wrk, which is the volume.
DOCKER = """#!/bin/sh
expected="run --rm --network host --volume ${6%%:*}:/zap/wrk:rw ghcr.io/zaproxy/zaproxy:2.17.0@sha256:"
case "$*" in "$expected"*" zap-api-scan.py "*) ;; *) exit 3 ;; esac
cd "${6%%:*}"
exec python "$(dirname "$0")/scan.py" $(printf '%s' "$*" | sed -e 's/^.* zap-api-scan.py //')
"""


def test_docker_is_what_it_runs_where_zap_itself_is_not(project: Callable[..., Project], tmp_path: Path) -> None:
    service = project(**VARIANTS["keys only"])
    assert service.environment
    shutil.copy(ROOT / "tests/zap_stand_in.py", tmp_path / "scan.py")
    (tmp_path / "docker").write_text(DOCKER)
    (tmp_path / "docker").chmod(0o755)
    found = os.pathsep.join([str(tmp_path), service.environment.variables()["PATH"]])

    printed = service.must("python", SCAN, PATH=found, PYTHONPATH=str(service.path))

    assert "zap: no findings without a waiver" in printed


def test_a_zap_that_cannot_scan_fails(project: Callable[..., Project], tmp_path: Path) -> None:
    service = project(**VARIANTS["keys only"])
    assert service.environment
    (tmp_path / "zap-api-scan.py").write_text("#!/bin/sh\nexit 3\n")
    (tmp_path / "zap-api-scan.py").chmod(0o755)
    found = os.pathsep.join([str(tmp_path), service.environment.variables()["PATH"]])

    done = service.run("python", SCAN, PATH=found, PYTHONPATH=str(service.path))

    assert done.returncode == 1
    assert "ZAP could not do the authenticated scan: exit code 3" in done.stderr


def test_nothing_of_the_developer_is_touched(project: Callable[..., Project], scanned: Scanned) -> None:
    service = project(**VARIANTS["keys only"])
    before = service.files()

    assert scanned(service)[0] == 0

    added = service.files().keys() - before.keys()
    assert all(name.startswith("zap-report/") for name in added)
    assert not service.file("app.sqlite3").exists()


def test_the_job_is_one_command_that_runs_here_too(template: Template) -> None:
    jobs = yaml.safe_load(template.render().read(".github/workflows/security.yml"))["jobs"]

    commands = [step["run"] for step in jobs["zap"]["steps"] if "run" in step]
    assert commands == [f"uv run --locked python {SCAN}"]
    assert jobs["zap"]["permissions"] == {"contents": "read"}
    assert jobs["zap"]["timeout-minutes"] <= 90


@pytest.mark.parametrize("bandit", [True, False])
def test_no_leaves_no_script_and_no_job(template: Template, bandit: bool) -> None:
    project = template.render(zap=False, bandit=bandit)

    assert [name for name in project.files() if "zap" in name] == []
    assert "zap" not in yaml.safe_load(project.read(".github/workflows/security.yml"))["jobs"]
    assert "(`zap`)" in project.read("docs/security/not-provided.md")
