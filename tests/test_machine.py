"""The files of deploy/ at work, on one machine and without a container engine: the commands of the image, as a user who
may write nothing, the roles of PostgreSQL and Redis, and nginx in front."""

import json
import os
import re
import shlex
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.rendering import Project, Template, outside
from tests.test_deploy import lay_out_nginx
from tests.test_postgres import postgres_programs
from tests.test_real_server import free_port
from tests.variants import ALL

pytestmark = [pytest.mark.nightly, pytest.mark.slow, pytest.mark.postgres, pytest.mark.server]
USER = 10001  # of the Dockerfile
PYTHON = "/usr/bin/python3"  # one that this user can read


def _instructions(dockerfile: str) -> Iterator[tuple[str, str]]:
    """The instructions of a Dockerfile, without comments and mounts, each on one line."""
    lines = re.sub(r"^#.*\n", "", dockerfile, flags=re.MULTILINE).replace("\\\n", " ")
    for line in filter(None, lines.splitlines()):
        word, _, rest = line.partition(" ")
        yield word, re.sub(r"--mount=\S+ *", "", rest).strip()


@dataclass
class Image:
    """What the Dockerfile makes, in a folder: its first stage as root, its second as USER."""

    folder: Path
    environment: dict[str, str]
    command: list[str]
    health: list[str]

    def run(self, *command: str, **variables: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command, **self.as_user(**variables), capture_output=True, text=True, timeout=120, check=False
        )

    def as_user(self, **variables: str) -> dict[str, object]:
        program = {"user": USER, "group": USER, "extra_groups": [], "cwd": self.folder}
        return program | {"env": self.environment | variables}


def build(project: Project, folder: Path) -> Image:
    """Execute the Dockerfile; `folder` is its /srv/app."""
    first, second = project.read("deploy/Dockerfile").replace("/srv/app", str(folder)).split("\nFROM ")[1:]
    for name in ("uv.lock", "pyproject.toml"):  # bind mounts of the first RUN
        shutil.copy(project.file(name), folder)
    known = outside() | {"UV_PYTHON": PYTHON, "UV_PROJECT_ENVIRONMENT": str(folder / ".venv")}
    for word, rest in _instructions(f"FROM {first}"):
        if word == "ENV":
            known |= dict(part.split("=", 1) for part in shlex.split(rest))
        elif word == "COPY" and "--from" not in rest:
            _copy(project, folder, *rest.split())
        elif word == "RUN":
            subprocess.run(rest, cwd=folder, env=known, check=True, shell=True)  # noqa: S602  as Docker does
    found = dict(_instructions(f"FROM {second}"))
    parts = dict(part.split("=", 1) for part in shlex.split(found["ENV"].replace("$PATH", "/usr/bin:/bin")))
    assert found["USER"] == f"{USER}:{USER}"
    health = found["HEALTHCHECK"].partition(" CMD ")[2]
    image = Image(folder, parts, json.loads(found["CMD"]), json.loads(health))
    done = image.run(*json.loads(found["RUN"]))
    assert done.returncode == 0, done.stderr
    return image


def _copy(project: Project, folder: Path, *names: str) -> None:
    *sources, target = names
    for source in sources:
        if project.file(source).is_dir():
            shutil.copytree(project.file(source), folder / target)
        else:
            shutil.copy(project.file(source), folder / target)


@dataclass
class Machine:
    folder: Path
    project: Project
    image: Image
    ports: tuple[int, int]  # of the two instances
    edge: int

    @property
    def address(self) -> str:
        return f"https://localhost:{self.edge}"

    def request(self, method: str, path: str, **options: Any) -> requests.Response:
        """Over TLS; the certificate signs itself."""
        certificate = str(self.folder / "nginx/tls.crt")
        return requests.request(method, f"{self.address}{path}", timeout=30, verify=certificate, **options)

    def secret(self, name: str) -> str:
        return (self.folder / "secrets" / name).read_text().strip()

    def psql(self, role: str, *options: str) -> subprocess.CompletedProcess[str]:
        command = ["psql", self.secret(role), "--no-psqlrc", "--tuples-only", "--no-align", *options]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    def variables(self, unit: str) -> dict[str, str]:
        """What systemd passes to a unit: settings.env, and the lines of Environment= with the credentials' paths."""
        names = ("demo-service-.service.d/hardening.conf", unit)
        lines = self.project.read("deploy/settings.env").splitlines()
        parts = [line for line in lines if line and not line.startswith("#")]
        for text in (self.project.read(f"deploy/systemd/{name}") for name in names):
            for name, source in re.findall(r"^LoadCredential=(\w+):.*/(\w+)$", text, re.MULTILINE):
                text = text.replace(f"%d/{name}\n", f"{self.folder}/credentials/{source}\n")
            parts += [part for line in re.findall(r"^Environment=(.*)$", text, re.MULTILINE) for part in line.split()]
        return dict(part.split("=", 1) for part in parts) | {"TRUSTED_HOSTS": "localhost"}

    def logged(self, word: str) -> list[str]:
        lines = [line for file in self.folder.glob("api-*.log") for line in file.read_text().splitlines()]
        return [line for line in lines if word in line]


@contextmanager
def _postgres(folder: Path) -> Iterator[int]:
    found = postgres_programs()
    if found is None:
        pytest.skip("PostgreSQL's server is not installed")
    home = folder / "postgres"
    home.mkdir()
    shutil.chown(home, "postgres", "postgres")
    port, as_user = free_port(), ["runuser", "-u", "postgres", "--"]
    (home / "password").write_text("a password of the superuser")
    options = f"-p {port} -k {home} -c listen_addresses=127.0.0.1 -c fsync=off"

    def run(*command: str) -> None:
        subprocess.run([*as_user, *command], cwd=home, check=True, stdout=subprocess.DEVNULL)

    arguments = ["--auth=scram-sha-256", "--auth-local=peer", "--username=postgres", f"--pwfile={home}/password"]
    run(str(found / "initdb"), "--pgdata", f"{home}/data", *arguments)
    run(str(found / "pg_ctl"), "-D", f"{home}/data", "-o", options, "-l", f"{home}/log", "-w", "start")
    try:
        yield port
    finally:
        run(str(found / "pg_ctl"), "-D", f"{home}/data", "-m", "immediate", "stop")


@contextmanager
def _process(*command: str, **options: object) -> Iterator["subprocess.Popen[str]"]:
    process = subprocess.Popen(command, text=True, **options)  # type: ignore[call-overload]
    try:
        yield process
    finally:
        process.terminate()
        process.wait(60)


def _until_it_responds(url: str, process: "subprocess.Popen[str]", verify: str | None = None) -> None:
    for _ in range(600):
        assert process.poll() is None, f"{process.args} ended"
        try:
            if requests.get(url, timeout=5, verify=verify).status_code == 200:
                return
        except requests.RequestException:
            pass
        time.sleep(0.1)
    raise AssertionError(url)


@pytest.fixture(scope="module")
def machine(template: Template) -> Iterator[Machine]:
    """PostgreSQL, Redis, two instances and nginx, set up as deploy/README.md says; ports and folders are free ones."""
    if os.geteuid() != 0:
        pytest.skip("only root can run programs as another user")
    folder = Path("/tmp") / f"machine-{os.getpid()}"  # noqa: S108  other users cannot enter pytest's folders
    (folder / "app").mkdir(mode=0o755, parents=True)
    folder.chmod(0o755)
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, folder)
        project = Project(folder / "project")
        shutil.copytree(template.render(**ALL).path, project.path)
        subprocess.run(["uv", "lock", "--quiet"], cwd=project.path, env=outside() | {"UV_PYTHON": PYTHON}, check=True)
        image = build(project, folder / "app")
        machine = Machine(folder, project, image, (free_port(), free_port()), free_port())
        _start_data(stack, machine)
        _migrate(machine)
        _start_instances(stack, machine)
        _start_edge(stack, machine)
        yield machine


def _start_data(stack: ExitStack, machine: Machine) -> None:
    folder, deploy = machine.folder, machine.project.file("deploy")
    database, redis = stack.enter_context(_postgres(folder)), free_port()
    servers = (f"127.0.0.1:{database}", f"127.0.0.1:{redis}")
    subprocess.run(["sh", str(deploy / "secrets.sh"), str(folder / "secrets"), *servers], check=True)
    roles = folder / "roles"  # what the superuser reads
    roles.mkdir()
    for name in ("database_password", "database_owner_password"):
        shutil.copy(folder / "secrets" / name, roles)
    shutil.copy(deploy / "postgresql/roles.sql", roles)
    psql = ["psql", "--quiet", "--port", str(database), "--host", str(folder / "postgres")]
    script = ["--set", f"secrets={roles}", "--file", str(roles / "roles.sql")]
    subprocess.run(["runuser", "-u", "postgres", "--", *psql, *script], check=True, stdout=subprocess.DEVNULL)
    server = ["redis-server", "--port", str(redis), "--bind", "127.0.0.1", "--save", "", "--dir", str(folder)]
    users = ["--aclfile", str(folder / "secrets/users.acl")]
    stack.enter_context(_process(*server, *users, stdout=subprocess.DEVNULL))
    seen = folder / "credentials"  # systemd shows them to a unit alone
    shutil.copytree(folder / "secrets", seen)
    for path in (seen, *seen.iterdir()):
        shutil.chown(path, USER, USER)


def _migrate(machine: Machine) -> None:
    done = machine.image.run("manage", "migrate", **machine.variables("demo-service-migrate.service"))
    assert done.returncode == 0, done.stderr
    grants = machine.project.file("deploy/postgresql/grants.sql")
    done = machine.psql("migration_database_url", "--file", str(grants))
    assert done.returncode == 0, done.stderr


def _start_instances(stack: ExitStack, machine: Machine) -> None:
    unit = "demo-service-api@.service"
    start = re.findall(r"^ExecStart=(.*)$", machine.project.read(f"deploy/systemd/{unit}"), re.MULTILINE)[0]
    program = machine.image.as_user(**machine.variables(unit))
    for port in machine.ports:
        command = start.replace("/srv/demo-service", str(machine.image.folder)).replace("%i", str(port)).split()
        log = stack.enter_context((machine.folder / f"api-{port}.log").open("w"))
        process = stack.enter_context(_process(*command, stdout=log, stderr=log, **program))
        _until_it_responds(f"http://127.0.0.1:{port}/health/ready", process)


def _start_edge(stack: ExitStack, machine: Machine) -> None:
    folder = machine.folder / "nginx"
    lay_out_nginx(machine.project.file("deploy"), folder, "machine.conf")
    site = re.sub(r".*listen \[::\].*\n", "", (folder / "site.conf").read_text())
    places = {"8001": machine.ports[0], "8002": machine.ports[1], "listen 443": f"listen 127.0.0.1:{machine.edge}"}
    for old, new in places.items():
        site = site.replace(old, str(new))
    (folder / "site.conf").write_text(site)
    options = f"daemon off; pid {folder}/pid;"
    process = stack.enter_context(_process("nginx", "-c", str(folder / "nginx.conf"), "-g", options))
    _until_it_responds(f"{machine.address}/health/ready", process, str(folder / "tls.crt"))


def test_nothing_of_the_image_can_be_written_by_its_user(machine: Machine) -> None:
    paths = [path for path in machine.image.folder.rglob("*") if not path.is_symlink()]

    assert {path.stat().st_uid for path in paths} == {0}
    assert [path for path in paths if path.stat().st_mode & 0o022] == []
    assert machine.image.run("sh", "-c", "touch app/main.py").returncode != 0
    assert not list(machine.image.folder.glob(".venv/bin/uv"))
    assert not list(machine.image.folder.glob(".venv/lib/*/site-packages/pytest"))


def test_the_health_check_of_the_image_succeeds_and_fails(machine: Machine) -> None:
    assert machine.image.command[:2] == ["manage", "serve"]
    port = str(machine.ports[0])

    assert machine.image.run(*[part.replace("8000", port) for part in machine.image.health]).returncode == 0
    assert machine.image.run(*[part.replace("8000", str(free_port())) for part in machine.image.health]).returncode != 0


def test_the_services_role_cannot_change_the_schema_or_the_audit_log(machine: Machine) -> None:
    refused = [
        "CREATE TABLE mine (id int)",
        "CREATE SCHEMA mine",
        "DROP TABLE accounts",
        "TRUNCATE audit_events",
        "UPDATE audit_events SET event = 'x'",
        "DELETE FROM audit_events",
        "UPDATE alembic_version SET version_num = 'x'",
        "DELETE FROM alembic_version_security",
        "CREATE ROLE mine",
    ]
    for statement in refused:
        said = machine.psql("database_url", "--command", statement)
        assert said.returncode != 0, statement
        assert re.search("permission denied|must be owner", said.stderr), said.stderr
    assert machine.psql("database_url", "--command", "SELECT count(*) FROM audit_events").returncode == 0
    assert machine.psql("database_url", "--command", "SHOW statement_timeout").stdout == "5s\n"


def test_tables_of_later_migrations_are_the_services_too(machine: Machine) -> None:
    assert (
        machine.psql("migration_database_url", "--command", "CREATE TABLE later (id serial PRIMARY KEY)").returncode
        == 0
    )

    assert machine.psql("database_url", "--command", "INSERT INTO later DEFAULT VALUES").returncode == 0
    assert machine.psql("database_url", "--command", "DROP TABLE later").returncode != 0
    assert machine.psql("migration_database_url", "--command", "DROP TABLE later").returncode == 0


def test_the_services_user_of_redis_counts_and_does_nothing_else(machine: Machine) -> None:
    address = machine.secret("rate_limit_storage_url")

    def redis(*command: str) -> str:
        called = ["redis-cli", "-u", address, "--no-auth-warning", *command]
        return subprocess.run(called, capture_output=True, text=True, check=False).stdout

    machine.request("GET", "/users/me")
    assert "NOPERM" in redis("KEYS", "*")
    assert "NOPERM" in redis("FLUSHALL")
    assert "NOPERM" in redis("CONFIG", "GET", "*")
    assert "NOPERM" in redis("GET", "another")
    assert machine.logged("unavailable") == []


def test_forged_headers_neither_escape_the_login_throttle_nor_reach_the_log(machine: Machine) -> None:
    statuses = []
    for number in range(40):
        forged = {"X-Forwarded-For": f"203.0.113.{number}", "X-Request-ID": f"forged-{number:08}"}
        form = {"grant_type": "password", "username": "nobody@example.com", "password": f"wrong password {number}"}
        response = machine.request("POST", "/auth/token", data=form, headers=forged)
        statuses.append(response.status_code)
        assert response.headers["X-Request-ID"] != forged["X-Request-ID"]

    assert 429 in statuses
    assert statuses == sorted(statuses), "an attempt after the throttle passed it"
    assert machine.logged("forged-") == []
    assert machine.logged("203.0.113.") == []


def test_the_audit_jobs_of_the_units_run(machine: Machine) -> None:
    for job in ("prune", "verify"):
        variables = machine.variables(f"audit/demo-service-audit-{job}.service")
        done = machine.image.run("manage", "audit", job, **variables)
        assert done.returncode == 0, done.stderr


def test_a_refused_configuration_ends_with_the_code_that_the_unit_does_not_restart(machine: Machine) -> None:
    variables = machine.variables("demo-service-api@.service") | {"DEBUG": "true"}
    done = machine.image.run("manage", "serve", "--port", str(free_port()), "--workers", "2", **variables)

    assert done.returncode == 78
    assert "DEBUG: must be off in production" in done.stderr
    assert "RestartPreventExitStatus=78" in machine.project.read("deploy/systemd/demo-service-api@.service")
