"""The generated project on PostgreSQL: its own suite, and its migrations."""

import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import uuid4

import pytest
from authlib.integrations.requests_client import OAuth2Session

from tests.nightly import EVERYTHING, sample
from tests.rendering import Project, lay_over
from tests.test_real_server import CREATE, NAME, PASSWORD, free_port, served

pytestmark = [pytest.mark.postgres, pytest.mark.slow]


def postgres_programs() -> Path | None:
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    return found[-1].parent if found else None


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, in_ci: bool) -> Iterator[str]:
    """A PostgreSQL server of our own, and its address without a database."""
    programs = postgres_programs()
    if programs is None:
        if in_ci:
            pytest.fail("PostgreSQL's server is not installed")
        pytest.skip("PostgreSQL's server is not installed (apt-get install postgresql)")
    folder = Path("/tmp") / f"postgres-{os.getpid()}"  # noqa: S108  its user cannot enter pytest's folders
    folder.mkdir(mode=0o755)
    as_user = []
    if os.geteuid() == 0:  # PostgreSQL refuses to run as root
        shutil.chown(folder, "postgres", "postgres")
        as_user = ["runuser", "-u", "postgres", "--"]

    def run(*command: str) -> None:
        subprocess.run([*as_user, *command], cwd=folder, check=True, stdout=subprocess.DEVNULL)

    port, data = free_port(), str(folder / "data")
    options = f"-p {port} -k {folder} -c listen_addresses=127.0.0.1 -c fsync=off"
    control = str(programs / "pg_ctl")
    run(str(programs / "initdb"), "-D", data, "-A", "trust", "-U", "service")
    run(control, "-D", data, "-o", options, "-l", str(folder / "log"), "-w", "start")
    try:
        yield f"postgresql://service@127.0.0.1:{port}"
    finally:
        run(control, "-D", data, "-m", "immediate", "stop")
        shutil.rmtree(folder)


@pytest.fixture
def database(server: str, runnable: object, project: Callable[..., Project]) -> str:
    """A new, empty database."""
    name = f"test_{uuid4().hex}"
    port = server.rpartition(":")[2]
    command = ["psql", "-q", "-h", "127.0.0.1", "-p", port, "-U", "service", "-d", "postgres"]
    subprocess.run([*command, "-c", f'CREATE DATABASE "{name}"'], check=True)
    return f"{server}/{name}"


# What touches SQL, without the slow tests: one or two rooms a commit. The nightly run takes every test.
ROOMS = ("api", "security/administration", "security/audit", "security/authentication", "security/keys")
CORE = (
    "security/core/test_database.py",
    "security/core/test_transactions.py",
    "security/operations/test_migrations.py",
)
SQL = (*sample(ROOMS, one_in=4), *CORE)
PARTS = ["-m", ""] if EVERYTHING else ["-m", "not slow", *(f"tests/{part}" for part in SQL)]


def test_its_tests_pass_on_postgresql(project: Callable[..., Project], database: str) -> None:
    service = project()
    lay_over(service)

    service.must("python", "-m", "pytest", "--quiet", *PARTS, TEST_DATABASE_URL=database, CI="true")


def test_without_its_time_outs_and_keepalives_a_project_fails_its_tests(
    project: Callable[..., Project], database: str
) -> None:
    service = project()
    service.replace("app/database.py", "KEEPALIVES | limits", "{}")

    command = ["python", "-m", "pytest", "--quiet", "tests/security/core/test_database.py"]
    done = service.run(*command, TEST_DATABASE_URL=database)

    assert re.search(r"^5 failed", done.stdout, re.MULTILINE), done.stdout


def psql(address: str, statements: str) -> subprocess.CompletedProcess[str]:
    command = ["psql", "-q", "-v", "ON_ERROR_STOP=1", "-d", address]
    return subprocess.run(command, input=statements, capture_output=True, text=True)


def test_a_role_of_less_power_serves_with_what_the_page_grants(project: Callable[..., Project], database: str) -> None:
    service, role = project(), database.replace("//service@", "//api@")
    both = {"DATABASE_URL": role, "MIGRATION_DATABASE_URL": database, "FASTAPI_ENV": "development"}
    alone = {"DATABASE_URL": role, "FASTAPI_ENV": "development"}
    found = re.search(r"```sql\n(.*?)```", service.read("docs/security/operations.md"), re.DOTALL)
    assert found

    service.must("python", "-m", "app.manage", "migrate", **both)
    assert psql(database, "CREATE ROLE api LOGIN").returncode == 0
    assert "InsufficientPrivilegeError" in service.run("python", "-m", "app.manage", "doctor", **alone).stdout
    assert psql(database, found[1]).stderr == ""

    service.must("python", "-m", "app.manage", "doctor", **alone)
    service.must("python", "-c", CREATE, **alone)
    service.must("python", "-m", "app.manage", "users", "roles", NAME, "--role", "admin", **alone)
    with served(service, "uvicorn", "app.main:app", "--no-proxy-headers", **alone) as address:
        client = OAuth2Session(token_endpoint_auth_method="none")
        client.fetch_token(f"{address}/auth/token", username=NAME, password=PASSWORD)
        assert client.post(f"{address}/notes", json={"title": "one"}).status_code == 201
        assert client.get(f"{address}/audit-events").status_code == 200
    service.must("python", "-m", "app.manage", "audit", "verify", **alone)

    for refused in ("UPDATE audit_events SET seq = 0", "DELETE FROM audit_events", "DROP TABLE notes"):
        assert re.search("permission denied|must be owner", psql(role, refused).stderr)
