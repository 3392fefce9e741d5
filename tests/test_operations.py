"""The pages of docs/operations: every command block is run, in order, on a machine as deploy/README.md sets it up.

The machine has PostgreSQL, Redis and two instances. Paths, ports and `systemctl` are stand-ins: each block is run as it
is, with other folders and ports in it.
"""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import requests

from tests.rendering import ROOT, Project, Template, outside
from tests.test_machine import _postgres
from tests.test_real_server import PRODUCTION, free_port, served
from tests.variants import ALL

PAGES = ROOT / "docs/operations"
BLOCK = re.compile(r"^```console\n(.*?)^```$", re.MULTILINE | re.DOTALL)
ALICE, PASSWORD = "alice@example.com", "correct staple 7 battery horse"
DEVELOPMENT = {"FASTAPI_ENV": "development"}
HOST = {"Host": "api.example.com", "X-Forwarded-Proto": "https"}


def blocks(page: str) -> list[str]:
    return BLOCK.findall((PAGES / page).read_text())


@pytest.mark.parametrize("page", sorted(path.name for path in PAGES.glob("*.md")))
def test_the_commands_of_a_page_are_shell(page: str) -> None:
    for block in blocks(page):
        subprocess.run(["bash", "-n", "-c", block], check=True)


def test_the_index_names_every_page() -> None:
    index = (PAGES / "README.md").read_text()

    assert [path.name for path in PAGES.glob("*.md") if f"({path.name})" not in index] == ["README.md"]


# Alerts


QUERY = re.compile(r"^### ([^\n]+)\n(?:(?!```)[^\n]*\n)*```console\n(.*?)^```$", re.MULTILINE | re.DOTALL)
QUERIES = dict(QUERY.findall((PAGES / "alerts.md").read_text()))


def answers(log: str, folder: Path) -> dict[str, str]:
    """What each query prints for a log, as its page has it."""
    (folder / "log").write_text(log)
    program = folder / "journalctl"
    program.write_text(f"#!/bin/sh\ncat {folder}/log\n")
    program.chmod(0o755)
    variables = os.environ | {"PATH": f"{folder}:{os.environ['PATH']}"}
    first = blocks("alerts.md")[0]
    found = {}
    for name, query in QUERIES.items():
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", first + query], env=variables, capture_output=True, text=True
        )
        assert done.stderr == "", (name, done.stderr)
        found[name] = done.stdout
    return found


FAILING = """
import time

from fastapi import APIRouter, Depends

from app.security.identity import Caller, public, require_scope

router = APIRouter()


@router.get("/failing", dependencies=[public])
async def failing() -> None:
    raise RuntimeError("the recipe is in the cellar")


@router.get("/slow", dependencies=[public])
def slow() -> None:
    time.sleep(1.1)
"""
CREATE = f"printf '{PASSWORD}\n{PASSWORD}\n' | python -m app.manage users create {ALICE} --role user"
# Of other processes, or of keys that are months old.
ELSEWHERE = [
    {"event": "audit_verified", "outcome": "failure"},
    {"event": "api_key_expired_use", "actor": "a", "subject": "k"},
    {"event": "authz_change", "actor": "a", "subject": "b"},
    {"event": "log", "level": "warning", "message": "Redis is unavailable"},
    {"event": "log", "level": "critical", "message": "the database cannot write"},
    *[{"event": "sys_startup"}] * 21,
]


class Client(requests.Session):
    def __init__(self, address: str) -> None:
        super().__init__()
        self.address = address
        self.headers["X-Forwarded-Proto"] = "https"

    def ask(self, method: str, path: str, token: str = "", **options: Any) -> requests.Response:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        return self.request(method, f"{self.address}{path}", timeout=30, headers=headers, **options)

    def log_in(self, password: str = PASSWORD, name: str = ALICE) -> requests.Response:
        return self.ask("POST", "/auth/token", data={"grant_type": "password", "username": name, "password": password})

    def refresh(self, token: str) -> requests.Response:
        return self.ask("POST", "/auth/token", data={"grant_type": "refresh_token", "refresh_token": token})


def _work(client: Client) -> str:
    """What happens on a quiet day. Returns the refresh token of the session."""
    tokens = client.log_in().json()
    assert [client.ask("GET", "/notes", tokens["access_token"]).status_code for _ in range(3)] == [200] * 3
    assert client.ask("GET", "/notes").status_code == 401
    return str(tokens["refresh_token"])


def _attack(client: Client, refresh: str) -> None:
    tokens = client.refresh(refresh).json()
    for path in ("/users", "/audit-events", f"/users/{uuid4()}"):
        assert client.ask("GET", path, tokens["access_token"]).status_code == 403
    for _ in range(20):
        assert client.ask("GET", f"/notes/{uuid4()}", tokens["access_token"]).status_code == 404
    for _ in range(5):
        assert client.refresh(refresh).status_code == 400
    for number in range(12):
        client.log_in("a wrong password", f"nobody{number}@example.com")
        assert client.ask("GET", "/failing").status_code == 500
    client.ask("GET", "/slow")
    while client.ask("GET", "/nowhere").status_code != 429:
        pass


def test_every_alert_has_a_query() -> None:
    headings = re.findall(r"^### (.+)$", (PAGES / "alerts.md").read_text(), re.MULTILINE)

    assert list(QUERIES) == headings


def test_the_alerts_of_an_empty_log_are_none(tmp_path: Path) -> None:
    if not shutil.which("jq"):
        pytest.skip("jq is not installed (apt-get install jq)")

    assert {name: printed for name, printed in answers("", tmp_path).items() if printed} == {}


@pytest.mark.nightly
@pytest.mark.server
def test_each_alert_finds_what_it_is_for_in_a_real_log_and_nothing_on_a_quiet_day(
    project: Callable[..., Project], tmp_path: Path
) -> None:
    if not shutil.which("jq"):
        pytest.skip("jq is not installed (apt-get install jq)")
    service = project(**ALL)
    service.write("app/api/failing.py", FAILING)
    service.replace("app/main.py", "from app.api import ", "from app.api import failing, ")
    service.replace("app/main.py", "    # Your routers", "    app.include_router(failing.router)\n    # Your routers")
    variables = PRODUCTION | {"DATABASE_URL": f"sqlite:///{tmp_path}/app.sqlite3", "RATE_LIMIT": "60/minute"}
    variables["RATE_LIMIT_BURST"] = "100/second"  # a fast machine attacks quickly
    service.must("python", "-m", "app.manage", "migrate", **variables)
    service.must("sh", "-c", CREATE, **variables)
    with served(service, "python", "-m", "app.manage", "serve", **variables) as address:
        client = Client(address)
        refresh = _work(client)
        quiet = answers(service.read("server.log"), tmp_path)
        _attack(client, refresh)
    log = service.read("server.log")
    lines = "".join(f"{json.dumps(line)}\n" for line in ELSEWHERE)

    assert {name: printed for name, printed in quiet.items() if printed} == {}
    assert [name for name, printed in answers(log + lines, tmp_path).items() if not printed] == []


# On a machine

SYSTEMCTL = """\
import json, os, signal, subprocess, sys, time
from pathlib import Path
here = Path(__file__).parent
program = json.loads((here / "programs.json").read_text())
for unit in sys.argv[2:]:
    pid = here / f"{unit}.pid"
    if sys.argv[1] in ("stop", "restart") and pid.exists():
        os.kill(int(pid.read_text()), signal.SIGTERM)
        status = Path(f"/proc/{pid.read_text()}/cmdline")
        while status.exists() and status.read_bytes():  # empty: it ended, and its parent has not looked yet
            time.sleep(0.05)
        pid.unlink()
    if sys.argv[1] in ("start", "restart"):
        command, variables = program[unit]
        if "@" not in unit and unit != "redis-server":  # Type=oneshot
            subprocess.run(command, env=variables, cwd=program["folder"], check=True)
            continue
        log = (here / f"{unit}.log").open("a")
        process = subprocess.Popen(
            ["setsid", "--fork", "sh", "-c", 'echo $$ > "$0"; exec "$@"', pid, *command],
            env=variables, stdout=log, stderr=log, stdin=subprocess.DEVNULL, cwd=program["folder"],
        )
        process.wait()
        while not (pid.exists() and pid.read_text().endswith("\\n")):
            time.sleep(0.01)
        pid.write_text(pid.read_text().strip())
"""


@dataclass
class Site:
    """A machine whose `systemctl` restarts the processes of this test, and whose paths are in one folder."""

    folder: Path
    project: Project
    ports: tuple[int, int]  # of the two instances

    @property
    def programs(self) -> Path:
        return self.folder / "programs"

    def secret(self, name: str) -> str:
        return (self.folder / "secrets" / name).read_text().strip()

    def unit(self, name: str) -> dict[str, str]:
        """What systemd passes to a unit: settings.env, and the lines of Environment= with the secrets' paths."""
        names = ("demo-service-.service.d/hardening.conf", name)
        lines = [line for line in self.project.read("deploy/settings.env").splitlines() if not line.startswith("#")]
        for text in (self.project.read(f"deploy/systemd/{one}") for one in names):
            for alias, source in re.findall(r"^LoadCredential=(\w+):.*/(\w+)$", text, re.MULTILINE):
                text = text.replace(f"%d/{alias}\n", f"{self.folder}/secrets/{source}\n")
            lines += [part for line in re.findall(r"^Environment=(.*)$", text, re.MULTILINE) for part in line.split()]
        return dict(line.split("=", 1) for line in lines if line)

    def run(self, page: str, *, until: str = "", after: str = "") -> str:
        """The blocks of README.md, and those of a page from and to a heading; what they print."""
        text = (PAGES / page).read_text()
        text = text[text.index(after) if after else 0 : text.index(until) if until else len(text)]
        first = [block for block in blocks("README.md") if page != "README.md"]
        script = "\n".join([*first, *BLOCK.findall(text)])
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", self._moved(script)],
            env=self._variables(),
            capture_output=True,
            text=True,
        )
        failed = done.returncode or "ERROR:" in done.stderr  # psql goes on after one
        assert not failed, f"{done.stdout}\n{done.stderr}\n{self.logs()}"
        return done.stdout

    def logs(self) -> str:
        return "".join(path.read_text()[-2000:] for path in self.programs.glob("*.log"))

    def manage(self, *command: str, text: str = "") -> str:
        script = blocks("README.md")[0].replace("manage doctor", f"manage {' '.join(command)}")
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", self._moved(script)],
            env=self._variables(),
            input=text,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def client(self) -> Client:
        made = Client(f"http://127.0.0.1:{self.ports[0]}")
        made.headers.update(HOST)
        return made

    def redis_port(self) -> str:
        return re.findall(r":(\d+)/", self.secret("rate_limit_storage_url"))[0]

    def _variables(self) -> dict[str, str]:
        port = re.findall(r":(\d+)/", self.secret("database_url"))[0]
        postgres = {"PGHOST": str(self.folder / "postgres"), "PGPORT": port}
        return outside() | postgres | {"PATH": f"{self.programs}:{os.environ['PATH']}"}

    def _moved(self, script: str) -> str:
        folder = self.folder
        places = {"/etc/demo-service": str(folder), "/srv/demo-service": str(self.project.path)}
        places |= {"/etc/redis/users.acl": str(folder / "secrets/users.acl"), "/run/": f"{folder}/run/"}
        places |= {"/var/": f"{folder}/var/", "8001": str(self.ports[0]), "8002": str(self.ports[1])}
        for old, new in places.items():
            script = script.replace(old, new)
        return script


def _program(path: Path, text: str) -> None:
    path.write_text(text)
    path.chmod(0o755)


@pytest.fixture(scope="module")
def site(runnable: Template) -> Iterator[Site]:
    if os.geteuid() != 0:
        pytest.skip("only root can run programs as another user")
    folder = Path("/tmp") / f"operations-{os.getpid()}"  # noqa: S108  other users cannot enter pytest's folders
    programs = folder / "programs"
    for path in (programs, folder / "run", folder / "var/backups"):
        path.mkdir(mode=0o755, parents=True)
    folder.chmod(0o755)
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, folder)
        project = runnable.copy_of(runnable.render(**ALL), folder / "project")
        made = Site(folder, project, (free_port(), free_port()))
        _make_database(made, stack.enter_context(_postgres(folder)))
        stack.callback(_stop, made)
        _start(made)
        yield made


def _make_database(site: Site, port: int) -> None:
    servers = (f"127.0.0.1:{port}", f"127.0.0.1:{free_port()}")
    site.project.must("sh", "deploy/secrets.sh", str(site.folder / "secrets"), *servers)
    roles = site.folder / "roles"  # what the superuser reads
    roles.mkdir()
    for name in ("secrets/database_password", "secrets/database_owner_password", "project/deploy/postgresql/roles.sql"):
        shutil.copy(site.folder / name, roles)
    psql = ["psql", "--quiet", "--port", str(port), "--host", str(site.folder / "postgres")]
    script = ["--set", f"secrets={roles}", "--file", str(roles / "roles.sql")]
    subprocess.run(["runuser", "-u", "postgres", "--", *psql, *script], check=True, stdout=subprocess.DEVNULL)
    site.project.must("python", "-m", "app.manage", "migrate", **site.unit("demo-service-migrate.service"))
    site.project.must("deploy/postgresql/grants.sh", str(site.folder / "secrets/migration_database_url"))
    shutil.copy(site.project.file("deploy/settings.env"), site.folder)


def _start(site: Site) -> None:
    programs, environment = site.programs, site.project.environment
    assert environment
    python, known = str(environment.path / "bin/python"), environment.variables()
    _program(programs / "manage", f'#!/bin/sh\nexec {python} -m app.manage "$@"\n')
    _program(programs / "journalctl", f"#!/bin/sh\ncat {programs}/demo-service-api@*.log\n")
    for name in ("git", "uv"):  # there is no newer version, and the environment is that of other tests
        _program(programs / name, "#!/bin/sh\n")
    _program(programs / "systemctl", f"#!{sys.executable}\n{SYSTEMCTL}")
    redis = [
        "redis-server",
        "--port",
        site.redis_port(),
        "--bind",
        "127.0.0.1",
        "--save",
        "",
        "--dir",
        str(site.folder),
    ]
    commands: dict[str, Any] = {"folder": str(site.project.path)}
    commands["redis-server"] = [*redis, "--aclfile", str(site.folder / "secrets/users.acl")], known
    variables = known | site.unit("demo-service-api@.service") | {"SHUTDOWN_DRAIN_SECONDS": "1"}
    for port in site.ports:
        command = [python, "-m", "app.manage", "serve", "--port", str(port), "--workers", "1"]
        commands[f"demo-service-api@{port}"] = command, variables
    migrate = [python, "-m", "app.manage", "migrate"]
    commands["demo-service-migrate"] = migrate, known | site.unit("demo-service-migrate.service")
    (programs / "programs.json").write_text(json.dumps(commands))
    names = [name for name in commands if name not in ("folder", "demo-service-migrate")]
    subprocess.run([programs / "systemctl", "start", *names], check=True)
    for port in site.ports:
        url = f"http://127.0.0.1:{port}/health/ready"
        subprocess.run(
            ["curl", "--fail", "--retry", "30", "--retry-connrefused", "--retry-delay", "1", url], check=True
        )


def _stop(site: Site) -> None:
    for path in site.programs.glob("*.pid"):
        os.kill(int(path.read_text()), signal.SIGKILL)


def marked(test: Any) -> Any:
    for mark in (pytest.mark.nightly, pytest.mark.slow, pytest.mark.postgres, pytest.mark.server):
        test = mark(test)
    return test


class Caller(threading.Thread):
    """Refreshes a session at one instance and calls the other with it, as pages behind nginx do."""

    def __init__(self, site: Site, refresh: str) -> None:
        super().__init__()
        self.addresses = [f"http://127.0.0.1:{port}" for port in site.ports]
        self.refresh = refresh
        self.statuses: list[int] = []
        self.ended = threading.Event()

    def ask(self, method: str, path: str, **options: Any) -> requests.Response:
        self.addresses.reverse()
        for address in self.addresses:
            with suppress(requests.ConnectionError):
                response = requests.request(method, f"{address}{path}", timeout=30, **options)
                self.statuses.append(response.status_code)
                return response
        raise AssertionError("no instance is there")

    def run(self) -> None:
        while not self.ended.wait(3) and set(self.statuses) <= {200}:
            form = {"grant_type": "refresh_token", "refresh_token": self.refresh}
            tokens = self.ask("POST", "/auth/token", data=form, headers=HOST).json()
            if "refresh_token" in tokens:
                self.refresh = tokens["refresh_token"]
                self.ask("GET", "/notes", headers=HOST | {"Authorization": f"Bearer {tokens['access_token']}"})

    def __enter__(self) -> "Caller":
        self.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.ended.set()
        self.join()


@marked
def test_the_first_page_gives_a_shell_in_which_manage_works(site: Site) -> None:
    assert "No problem found." in site.run("README.md")


@marked
def test_every_secret_is_rotated_and_no_request_is_refused(site: Site) -> None:
    site.manage(f"users create {ALICE} --role user", text=f"{PASSWORD}\n{PASSWORD}\n")
    client = site.client()
    tokens = client.log_in().json()
    before = {path.name: path.read_text() for path in (site.folder / "secrets").iterdir()}

    statuses = []
    audit_key, postgres = "## `AUDIT_KEY`", "## The password of PostgreSQL"
    with Caller(site, client.log_in().json()["refresh_token"]) as caller:
        site.run("secrets.md", until=audit_key)
    statuses += caller.statuses
    printed = site.run("secrets.md", after=audit_key, until=postgres)
    with Caller(site, client.log_in().json()["refresh_token"]) as caller:
        site.run("secrets.md", after=postgres)
    statuses += caller.statuses

    assert statuses.count(200) == len(statuses) > 20
    assert "rows verify" in printed
    changed = {name for name, text in before.items() if site.secret(name) != text.strip()}
    assert changed == {
        "secret_key",
        "audit_key",
        "database_url",
        "redis_password",
        "rate_limit_storage_url",
        "users.acl",
    }
    assert client.ask("GET", "/notes", tokens["access_token"]).status_code == 401
    assert client.refresh(tokens["refresh_token"]).status_code == 200
    old = subprocess.run(["psql", before["database_url"].strip(), "-c", ""], capture_output=True, text=True)
    assert "not permitted to log in" in old.stderr
    command = [
        "redis-cli",
        "-u",
        before["rate_limit_storage_url"].strip(),
        "--no-auth-warning",
        "GET",
        "demo-service:x",
    ]
    assert "WRONGPASS" in subprocess.run(command, capture_output=True, text=True).stderr
    billing = (site.folder / "run/billing-key").read_text().strip()
    site.run("secrets.md", after="The old key stays valid", until="## TLS")  # again, while there are two
    again = (site.folder / "run/billing-key").read_text().strip()
    assert again != billing
    assert client.get(f"{client.address}/notes", headers={"X-API-Key": again}).status_code == 200


@marked
def test_an_upgrade_and_the_looks_at_connections_and_clocks_work(site: Site) -> None:
    printed = site.run("sizing.md")

    assert re.search(r"80 \| 100$", printed, re.MULTILINE)
    assert "The database is up to date." in printed
    assert "\nt\n" in printed


@marked
def test_a_restored_backup_verifies_and_is_as_old_as_it_is(site: Site) -> None:
    site.manage("users create bob@example.com --role user", text=f"{PASSWORD}\n{PASSWORD}\n")
    client = site.client()
    tokens = client.log_in(name="bob@example.com").json()
    made = client.ask("POST", "/notes", tokens["access_token"], json={"title": "Before the backup"})
    assert made.status_code == 201
    site.project.must("python", "-m", "app.manage", "migrate", DATABASE_URL="sqlite:///app.sqlite3", **DEVELOPMENT)
    site.run("backup.md", until="## Restore it")
    newer = client.ask("POST", "/notes", tokens["access_token"], json={"title": "After it"})
    assert newer.status_code == 201
    changed = {"current_password": PASSWORD, "new_password": "seven quiet lamps behind"}
    assert client.ask("POST", "/users/me/password", tokens["access_token"], json=changed).status_code == 200
    site.manage("users create carol@example.com --role user", text=f"{PASSWORD}\n{PASSWORD}\n")
    head = re.findall(r"The last one is (\S+)", site.manage("audit verify"))[0]

    printed = site.run("backup.md", after="## Restore it")

    assert "rows verify" in printed
    assert re.search(r"authn_password_change +\| [0-9a-f-]{36} ", printed)  # the old one is back
    assert "No problem found." in printed
    assert client.refresh(tokens["refresh_token"]).status_code == 400  # ended
    again = client.log_in(name="bob@example.com").json()
    notes = client.ask("GET", "/notes", again["access_token"]).json()
    assert [note["title"] for note in notes] == ["Before the backup"]
    assert client.log_in(name="carol@example.com").status_code == 400
    with pytest.raises(AssertionError, match="audit_verified"):
        site.manage(f"audit verify --head {head}")


@marked
def test_each_incident_is_stopped_by_its_commands(site: Site) -> None:
    root, client = "root@example.com", site.client()
    for name, role in ((ALICE, "user"), ("dave@example.com", "user"), (root, "admin")):
        with suppress(AssertionError):  # another test made it
            site.manage(f"users create {name} --role {role}", text=f"{PASSWORD}\n{PASSWORD}\n")
    key = site.manage("keys issue --account billing --scope notes:read").strip()
    old = client.log_in().json()
    other = client.log_in(name=root).json()
    granted = {"name": "a thief's", "scopes": ["notes:read"]}
    assert client.ask("POST", "/api-keys", other["access_token"], json=granted).status_code == 201

    def with_key() -> int:
        return client.get(f"{client.address}/notes", headers={"X-API-Key": key}).status_code

    assert with_key() == 200
    secret = site.secret("secret_key")
    last = "## The audit log refuses a change"
    printed = site.run("incidents.md", until=last)
    time.sleep(6)  # AUTH_CACHE_SECONDS
    client.log_in()  # 503 where it finds its connection ended

    assert with_key() == 401
    assert client.log_in().status_code == 400
    assert client.log_in(name="dave@example.com").status_code == 400  # whose password somebody may have written
    assert client.ask("GET", "/notes", old["access_token"]).status_code == 401
    assert client.refresh(other["refresh_token"]).status_code == 400
    assert site.secret("secret_key") != secret
    assert '"event":"authn_login_success"' in printed  # what Alice's account did
    assert re.search(r"\|api_key_created\|[0-9a-f-]{36}\|[0-9a-f-]{36}\|", printed)  # what callers granted
    assert re.search(rf"^{root} +disabled +admin$", printed, re.MULTILINE)
    assert re.search(r"^second@example.com +invited +admin$", printed, re.MULTILINE)

    owner = ["psql", site.secret("migration_database_url"), "--command", "UPDATE audit_chain SET mac = sha256(mac)"]
    subprocess.run(owner, check=True, stdout=subprocess.DEVNULL)
    with pytest.raises(AssertionError, match="audit log cannot record"):
        site.manage("users disable second@example.com")
    with pytest.raises(AssertionError, match="run it with the owner's address"):
        site.manage("audit restart")
    printed = site.run("incidents.md", after=last)
    assert re.search(r"Row (\d+) and all from 1 on verify, .*\nA new chain starts after row \1\.", printed)
    assert "an older state, or a chain that was restarted since" in printed
    site.manage("users disable second@example.com")
    typed = site.run("alerts.md", after="## From the audit log")
    assert re.search(r"\|audit_restarted\|.*\|user_updated\|[0-9a-f-]+\|disabled$", typed, re.DOTALL | re.MULTILINE)
