"""The files of deploy/ at work, on one machine and without a container engine: the commands of the image, as a user who
may write nothing, the roles of PostgreSQL and Redis, and nginx in front."""

import contextlib
import json
import os
import re
import select
import shlex
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.rendering import Project, Template, outside
from tests.test_postgres import postgres_programs
from tests.test_real_server import free_port
from tests.variants import ALL

pytestmark = [pytest.mark.nightly, pytest.mark.slow, pytest.mark.postgres, pytest.mark.server]
USER = 10001  # of the Dockerfile
PYTHON = "/usr/bin/python3"  # one that this user can read
PASSWORD = "correct staple 7 battery horse"
ASKING = f"""#!{sys.executable}
import json, sys
from pathlib import Path
here = Path(__file__)
(here.parent / "asked").write_text(json.dumps([here.name, *sys.argv[1:]]))
sys.exit(int((here.parent / "answered").open().readline()))
"""


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

    def run(self, *command: str, typed: str = "", **variables: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command, **self.as_user(**variables), input=typed, capture_output=True, text=True, timeout=120, check=False
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
    """One machine below a folder, set up by the commands of deploy/README.md; each port is a free one."""

    folder: Path
    project: Project
    image: Image
    processes: ExitStack
    ports: dict[str, int]
    running: dict[str, "subprocess.Popen[str]"] = field(default_factory=dict)
    blocks: list[str] = field(default_factory=list)

    @property
    def address(self) -> str:
        return f"https://localhost:{self.ports['443']}"

    def request(self, method: str, path: str, **options: Any) -> requests.Response:
        """Over TLS; the certificate signs itself."""
        certificate = str(self.folder / "etc/demo-service/tls/tls.crt")
        return requests.request(method, f"{self.address}{path}", timeout=30, verify=certificate, **options)

    def secret(self, name: str) -> str:
        return (self.folder / "etc/demo-service/secrets" / name).read_text().strip()

    def psql(self, role: str, statement: str) -> subprocess.CompletedProcess[str]:
        options = ("--no-psqlrc", "--tuples-only", "--no-align", "--command", statement)
        return subprocess.run(["psql", self.secret(role), *options], capture_output=True, text=True, check=False)

    def logged(self, word: str) -> list[str]:
        lines = [line for file in self.folder.glob("*.log") for line in file.read_text().splitlines()]
        return [line for line in lines if word in line]

    def here(self, text: str) -> str:
        """A command or a file, with the folders and ports of this test."""
        for name in ("etc", "run"):
            text = re.sub(rf"(?<![\w/])/{name}/", f"{self.folder}/{name}/", text)
        text = text.replace("/srv/demo-service/.venv", str(self.image.folder / ".venv"))
        text = text.replace("/srv/demo-service", str(self.project.path))
        return re.sub(r"\b(5432|6379|8001|8002|443)\b", lambda found: str(self.ports[found[1]]), text)

    def set_up(self) -> None:
        """Every block of the README for units, in its order."""
        section = self.project.read("deploy/README.md").split("## Units on one machine\n")[1].split("\n## ")[0]
        self.blocks = [block.split("```")[0] for block in section.split("```console\n")[1:]]
        for name in ("manage", "update.sh"):
            self.project.write(f"deploy/systemd/{name}", self.here(self.project.read(f"deploy/systemd/{name}")))
        self.project.write("deploy/nginx/machine.conf", self.here(self.project.read("deploy/nginx/machine.conf")))
        for program in ("systemctl", "systemd-run", "nginx"):
            self._program(program, ASKING)
        for program in ("apt-get", "git", "uv"):
            self._program(program, "#!/bin/sh\n")
        for name in ("asked", "answered"):
            os.mkfifo(self.folder / "bin" / name)
        for block in self.blocks:
            self.type(block)

    def _program(self, name: str, text: str) -> None:
        path = self.folder / "bin" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        path.chmod(0o755)

    def type(self, block: str) -> str:
        """What bash has printed. `systemctl`, `systemd-run` and `nginx` are answered by methods of this class."""
        asked, answered = (os.open(self.folder / "bin" / name, os.O_RDWR) for name in ("asked", "answered"))
        variables = outside() | {"PGHOST": str(self.folder / "postgres"), "PGPORT": str(self.ports["5432"])}
        variables["PATH"] = f"{self.folder / 'bin'}:{os.environ['PATH']}"
        block = self.here(block).replace("https://localhost/", f"{self.address}/")
        command = ["bash", "-euo", "pipefail", "-c", re.sub(r"curl .*astral.sh\S*", "true", block)]
        log = self.folder / "typed.log"
        with (
            log.open("a") as printed,
            _process(
                *command, cwd=self.project.path, env=outside() | variables, stdout=printed, stderr=printed
            ) as bash,
        ):
            while bash.poll() is None:
                if select.select([asked], [], [], 0.1)[0]:
                    program, *words = json.loads(os.read(asked, 65_536))
                    code = getattr(self, program.replace("-", "_"))(*words) or 0
                    os.write(answered, b"%d\n" % code)
        assert bash.returncode == 0, f"{block}\n{log.read_text()[-3000:]}"
        return log.read_text()

    def nginx(self, *words: str) -> None:
        assert words == ("-t",)
        etc = self.folder / "etc/nginx"
        for path in (etc / "site.conf", etc / "waf/server.conf"):
            path.write_text(re.sub(r".*listen \[::\].*\n", "", self.here(path.read_text())))
        text = (etc / "site.conf").read_text().replace("/var/log/nginx", str(self.folder))
        (etc / "site.conf").write_text(re.sub(r"listen (?!127)", "listen 127.0.0.1:", text))
        subprocess.run(["nginx", "-t", "-q", *self._nginx_options()], check=True)

    def _nginx_options(self) -> list[str]:
        options = f"daemon off; pid {self.folder}/nginx.pid;"
        return ["-c", str(self.folder / "etc/nginx/nginx.conf"), "-g", options]

    def systemd_run(self, *words: str) -> None:
        """A transient unit: systemd gives it the drop-ins of its name, too."""
        options, command = list(words), words[words.index("--setenv") + 2 :]
        values = {name: options[options.index(f"--{name}") + 1] for name in ("unit", "property", "setenv")}
        name = f"{values['unit']}.service"
        text = f"{values['property']}\nEnvironment={values['setenv']}\n"
        self.project.write("transient", text)
        shutil.move(self.project.file("transient"), self.folder / "etc/systemd/system" / name)
        _, variables = self.unit(name)
        typed = f"{PASSWORD}\n{PASSWORD}\n"
        done = self.image.run(*command, typed=typed, **variables)
        assert done.returncode == 0, done.stderr
        with (self.folder / "typed.log").open("a") as printed:
            printed.write(done.stdout)

    def systemctl(self, word: str, *words: str) -> int:
        """Does what systemd would. Returns the exit code."""
        if word == "is-failed":
            return 0 if self.running[words[-1].partition("@")[2]].poll() else 1
        for name in [one for one in words if not one.startswith("--")]:
            if name == "redis-server":
                settings = self.folder / "etc/redis/redis.conf"
                settings.write_text(self.here(settings.read_text()))
                self._start("redis", ["redis-server", str(settings)], user="redis", group="redis")
            elif name == "nginx":
                self._start("nginx", ["nginx", *self._nginx_options()])
                _until_it_accepts(self.ports["443"])
            elif "-api@" in name and word == "restart":
                (command,), variables = self.unit("demo-service-api@.service")
                port = name.partition("@")[2]
                self._start(port, shlex.split(command.replace("%i", port)), **self.image.as_user(**variables))
            elif word == "start" or name.endswith(".timer"):
                self.run_unit(name.removesuffix(".timer"))
        return 0

    def run_unit(self, name: str) -> None:
        commands, variables = self.unit(f"{name}.service")
        for command in commands:
            done = self.image.run(*shlex.split(command), **variables)
            assert done.returncode == 0, f"{command}: {done.stderr}"

    def unit(self, name: str) -> tuple[list[str], dict[str, str]]:
        """Its commands and environment, as systemd makes them of the installed files, with its own credentials."""
        units, credentials = self.folder / "etc/systemd/system", self.folder / "run/credentials" / name
        texts = [(units / one).read_text() for one in (name, "demo-service-.service.d/hardening.conf")]
        found = re.findall(r"^(\w+)=(.*)$", self.here("\n".join(texts).replace("%d", str(credentials))), re.MULTILINE)
        for source in [value for key, value in found if key == "LoadCredential"]:
            alias, _, path = source.partition(":")
            credentials.mkdir(parents=True, exist_ok=True)
            shutil.chown(shutil.copy(path, credentials / alias), USER, USER)
        file = next(value for key, value in found if key == "EnvironmentFile")
        lines = [line for line in Path(file).read_text().splitlines() if line and not line.startswith("#")]
        lines += [part for key, value in found if key == "Environment" for part in value.split()]
        variables = dict(line.split("=", 1) for line in lines) | {"CREDENTIALS_DIRECTORY": str(credentials)}
        return [value for key, value in found if key == "ExecStart"], variables | {"TRUSTED_HOSTS": "localhost"}

    def _start(self, name: str, command: list[str], **options: Any) -> None:
        if name in self.running:
            self.running[name].terminate()
            self.running[name].wait(60)
        log = self.processes.enter_context((self.folder / f"{name}.log").open("a"))
        self.running[name] = self.processes.enter_context(_process(*command, stdout=log, stderr=log, **options))


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


def _until_it_accepts(port: int) -> None:
    for _ in range(600):
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
            return
        time.sleep(0.1)
    raise AssertionError(port)


@pytest.fixture(scope="module")
def machine(template: Template) -> Iterator[Machine]:
    if os.geteuid() != 0 or not Path("/usr/share/modsecurity-crs").is_dir():
        pytest.skip("needs root and Debian's modsecurity-crs")
    folder = Path("/tmp") / f"machine-{os.getpid()}"  # noqa: S108  other users cannot enter pytest's folders
    (folder / "app").mkdir(mode=0o755, parents=True)
    folder.chmod(0o755)
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, folder)
        project = Project(folder / "project")
        shutil.copytree(template.render(**ALL).path, project.path)
        subprocess.run(["uv", "lock", "--quiet"], cwd=project.path, env=outside() | {"UV_PYTHON": PYTHON}, check=True)
        (project.file("deploy/waf/app.conf")).touch()  # "COPY deploy/waf" has it from the first `manage waf` on
        image = build(project, folder / "app")
        ports = {name: free_port() for name in ("6379", "8001", "8002", "443")}
        ports["5432"] = stack.enter_context(_postgres(folder))
        _install(folder, project, image)
        machine = Machine(folder, project, image, stack, ports)
        project.file(".venv").symlink_to(folder / "app/.venv")
        machine.set_up()
        yield machine


def _install(folder: Path, project: Project, image: Image) -> None:
    """What apt-get leaves in /etc, and the rules that `manage waf` writes."""
    for name in ("etc/nginx", "etc/redis", "etc/systemd/system", "etc/modsecurity", "run"):
        (folder / name).mkdir(parents=True)
    for name in ("mime.types", "unicode.mapping"):
        shutil.copy(f"/etc/nginx/{name}", folder / "etc/nginx")
    (folder / "etc/nginx/modules-enabled").symlink_to("/etc/nginx/modules-enabled")
    shutil.copytree("/etc/modsecurity/crs", folder / "etc/modsecurity/crs")
    (folder / "etc/redis/redis.conf").write_text('port 6379\nbind 127.0.0.1\nsave ""\n')
    program = [str(image.folder / ".venv/bin/python"), "-m", "app.manage", "waf"]
    subprocess.run(program, cwd=project.path, env=outside(), check=True, stdout=subprocess.DEVNULL)


def test_the_readme_leads_to_a_first_administrator_and_to_a_newer_and_an_older_version(machine: Machine) -> None:
    form = {"grant_type": "password", "username": "you@example.com", "password": PASSWORD}
    printed = (machine.folder / "typed.log").read_text()

    assert machine.request("POST", "/auth/token", data=form).status_code == 200
    assert [word for word in ("_owner", "PONG", "in service", '"ok"') if word not in printed] == []
    assert "git checkout" in machine.blocks[-1]  # every block was typed
    shown = machine.type("deploy/systemd/manage users list")
    assert "you@example.com" in shown


def test_nothing_of_the_image_can_be_written_by_its_user(machine: Machine) -> None:
    paths = [path for path in machine.image.folder.rglob("*") if not path.is_symlink()]

    assert {path.stat().st_uid for path in paths} == {0}
    assert [path for path in paths if path.stat().st_mode & 0o022] == []
    assert machine.image.run("sh", "-c", "touch app/main.py").returncode != 0
    assert not list(machine.image.folder.glob(".venv/bin/uv"))
    assert not list(machine.image.folder.glob(".venv/lib/*/site-packages/pytest"))


def test_the_health_check_of_the_image_succeeds_and_fails(machine: Machine) -> None:
    assert machine.image.command[:2] == ["manage", "serve"]
    port = str(machine.ports["8001"])

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
        said = machine.psql("database_url", statement)
        assert said.returncode != 0, statement
        assert re.search("permission denied|must be owner", said.stderr), said.stderr
    assert machine.psql("database_url", "SELECT count(*) FROM audit_events").returncode == 0
    assert machine.psql("database_url", "SHOW statement_timeout").stdout == "5s\n"


def test_tables_of_later_migrations_are_the_services_too(machine: Machine) -> None:
    assert machine.psql("migration_database_url", "CREATE TABLE later (id serial PRIMARY KEY)").returncode == 0

    assert machine.psql("database_url", "INSERT INTO later DEFAULT VALUES").returncode == 0
    assert machine.psql("database_url", "DROP TABLE later").returncode != 0
    assert machine.psql("migration_database_url", "DROP TABLE later").returncode == 0


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


def test_the_firewall_stands_in_front(machine: Machine) -> None:
    attack = machine.request("GET", "/notes", params={"after": "1' UNION SELECT password FROM accounts --"})

    assert attack.status_code in (400, 403)
    assert attack.headers["Content-Type"] == "application/problem+json"
    assert machine.logged("UNION SELECT") == []


def test_a_refused_configuration_ends_with_the_code_that_the_unit_does_not_restart(machine: Machine) -> None:
    _, variables = machine.unit("demo-service-api@.service")
    command = ("manage", "serve", "--port", str(free_port()), "--workers", "2")
    done = machine.image.run(*command, **variables | {"DEBUG": "true"})

    assert done.returncode == 78
    assert "DEBUG: must be off in production" in done.stderr
    assert "RestartPreventExitStatus=78" in machine.project.read("deploy/systemd/demo-service-api@.service")


def test_an_update_stops_at_once_at_an_instance_that_fails(machine: Machine) -> None:
    settings = machine.project.read("deploy/settings.env")
    machine.project.append("deploy/settings.env", "DEBUG=true\n")
    begun = time.monotonic()
    try:
        with pytest.raises(AssertionError, match="It is not ready"):
            machine.type("deploy/systemd/update.sh")

        assert time.monotonic() - begun < 60
        assert machine.running[str(machine.ports["8001"])].wait(60) == 78
        assert machine.request("GET", "/health/ready").status_code == 200
    finally:
        machine.project.write("deploy/settings.env", settings)
        machine.type("deploy/systemd/update.sh")
