"""A generated project in production on one machine: PostgreSQL, Redis, nginx with TLS, instances with workers."""

import json
import threading
import time
import uuid
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any, Self

import requests
from requests.adapters import HTTPAdapter

from tests.production import edge
from tests.production.edge import HOST
from tests.production.processes import Postgres, Server, children, free_port, postgres
from tests.rendering import Project

NAME, ADMIN, PASSWORD = "alice@example.com", "root@example.com", "correct staple 7 battery horse"
CREATE = f"""
import asyncio
from datetime import timedelta
from app.database import Database
from app.security.access import accounts
from app.security.authentication.passwords import PasswordHasher, PasswordSettings
from app.security.keys import store
async def create():
    hashed = await PasswordHasher(PasswordSettings.current()).hash("{PASSWORD}")
    async with Database().begin() as db:
        await accounts.create(db, "{NAME}", password_hash=hashed, roles=["user"])
        await accounts.create(db, "{ADMIN}", password_hash=hashed, roles=["admin"])
        load = await accounts.create(db, "load", kind="service")
        return (await store.issue(db, load.id, "load", ["notes:read", "notes:write"], timedelta(days=1))).text
print(asyncio.run(create()))
"""
SERVED = {200, 201, 204}
CACHE_SECONDS = 5
FOR_TESTS = {
    "AUTH_CACHE_SECONDS": str(CACHE_SECONDS),
    "API_KEYS_PER_ACCOUNT": "100",
    # The load is one caller.
    "RATE_LIMIT": "100000/minute",
    "RATE_LIMIT_BURST": "10000/second",
}


@dataclass
class Instance(Server):
    """`manage serve` with some workers."""

    def workers(self) -> list[int]:
        """The processes that serve: they have a connection to the parent, and its command line names spawn_main."""
        lines = {pid: Path(f"/proc/{pid}/cmdline").read_bytes() for pid in children(self.pid)}
        return [pid for pid, line in lines.items() if b"spawn_main" in line]

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def is_ready(self) -> bool:
        assert self.process
        assert self.process.poll() is None, self.log.read_text()
        try:
            return requests.get(f"{self.address}/health/ready", headers=BESIDE_NGINX, timeout=5).status_code == 200
        except requests.RequestException:
            return False

    def events(self, name: str) -> list[dict[str, Any]]:
        found = [json.loads(line) for line in self.lines() if line.startswith("{")]
        return [one for one in found if one.get("event") == name]


BESIDE_NGINX = {"Host": HOST, "X-Forwarded-Proto": "https", "X-Forwarded-For": "127.0.0.1"}


class _From(HTTPAdapter):
    """Requests from one of this machine's addresses."""

    def __init__(self, address: str, **options: Any) -> None:
        self._address = address
        super().__init__(**options)

    def init_poolmanager(self, *arguments: Any, **options: Any) -> None:
        super().init_poolmanager(*arguments, source_address=(self._address, 0), **options)


@dataclass
class Client:
    """A client of the edge. `send` returns a status; 0 is a connection that ended without a response."""

    address: str
    headers: dict[str, str]
    certificate: str
    source: str = "127.0.0.1"
    timeout: float = 20

    def __post_init__(self) -> None:
        self.session = requests.Session()
        self.session.trust_env = False
        self.session.verify = self.certificate
        self.session.headers.update(self.headers)
        self.session.mount("https://", _From(self.source, pool_maxsize=40))

    def call(self, method: str, path: str, **options: Any) -> requests.Response:
        return self.session.request(method, f"{self.address}{path}", timeout=self.timeout, **options)

    def status(self, method: str, path: str, **options: Any) -> int:
        try:
            return self.call(method, path, **options).status_code
        except requests.RequestException:
            return 0

    def token(self, **form: str) -> requests.Response:
        return self.call("POST", "/auth/token", data=form)

    def log_in(self, name: str = NAME) -> dict[str, Any]:
        done = self.token(grant_type="password", username=name, password=PASSWORD)
        assert done.status_code == 200, done.text
        found: dict[str, Any] = done.json()
        return found

    def refresh(self, token: str) -> requests.Response:
        return self.token(grant_type="refresh_token", refresh_token=token)


@dataclass
class Load:
    """Requests of several clients at a steady rate, and what became of each."""

    seen: list[tuple[float, str, int, float]] = field(default_factory=list)  # when, what, status, seconds
    acknowledged: list[str] = field(default_factory=list)  # names of notes and keys for which a client got a 201

    def statuses(self, what: str = "", since: float = 0, before: float = float("inf")) -> "Counter[int]":
        """The statuses of responses that arrived between these times."""
        return Counter(
            status for begun, one, status, seconds in self.seen if what in one and since <= begun + seconds < before
        )

    def slowest(self) -> float:
        return max((seconds for *_, seconds in self.seen), default=0)

    def failed(self) -> int:
        return sum(number for status, number in self.statuses().items() if status not in SERVED)


@dataclass
class Caller:
    """One client of the load. A program reads and writes notes; a person issues keys and revokes them."""

    load: Load
    client: Client
    key: str = ""

    def take_turn(self, turn: int) -> None:
        if "X-API-Key" in self.client.headers:
            self.create("write", "/notes", "title") if turn % 2 else self.send("read", "GET", "/notes?limit=1")
        elif turn % 3:
            self.send("me", "GET", "/users/me")
        elif self.key:
            self.send("change", "DELETE", f"/api-keys/{self.key}")
            self.key = ""
        else:
            self.key = self.create("change", "/api-keys", "name", scopes=["notes:read"]).get("id", "")

    def create(self, what: str, path: str, field: str, **others: object) -> dict[str, Any]:
        name = str(uuid.uuid4())
        response = self.send(what, "POST", path, json={field: name, **others})
        if response is None or response.status_code != 201:
            return {}
        self.load.acknowledged.append(name)
        found: dict[str, Any] = response.json()
        return found

    def send(self, what: str, method: str, path: str, **options: Any) -> requests.Response | None:
        begun, response = time.monotonic(), None
        with suppress(requests.RequestException):
            response = self.client.call(method, path, **options)
        status = response.status_code if response is not None else 0
        self.load.seen.append((begun, what, status, time.monotonic() - begun))
        return response


class Production:
    """The whole set-up. What a test stops, it starts again."""

    def __init__(
        self, project: Project, folder: Path, *, instances: int = 2, workers: int = 2, **variables: str
    ) -> None:
        self.project, self.folder, self.workers = project, folder, workers
        self.postgres: Postgres = postgres(folder)
        self.redis = edge.redis_with_users(folder)
        self.ports = [free_port() for _ in range(2)]
        edge.secrets(project, folder / "secrets", self.postgres.port, self.redis.port)
        self.variables = edge.settings(project, folder / "secrets") | FOR_TESTS | variables
        self.instances = [self.instance(port) for port in self.ports[:instances]]
        self.edge = edge.nginx(project, folder, self.ports)
        self.key = ""

    def __enter__(self) -> Self:
        try:
            self.prepare()
            self.start()
        except BaseException:
            self.end()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def instance(
        self, port: int, *, workers: int | None = None, prefix: Sequence[str] = (), **variables: str
    ) -> Instance:
        environment = self._environment() | variables
        command = [*prefix, *edge.command(self.project, port, workers or self.workers)]
        log = self.folder / f"instance-{port}.log"
        return Instance(command, port, log, environment, self.project.path)

    def _environment(self) -> dict[str, str]:
        assert self.project.environment
        return self.project.environment.variables() | self.variables

    def manage(self, *words: str, **variables: str) -> str:
        return self.project.must("python", "-m", "app.manage", *words, **(self.variables | variables))

    def migrate(self) -> None:
        """As the owner of the schema."""
        self.manage("migrate", MIGRATION_DATABASE_URL_FILE=str(self.folder / "secrets/migration_database_url"))

    def prepare(self) -> None:
        """Start what the service needs, with a migrated database, two people and a key."""
        self.postgres.start()
        self.redis.start()
        edge.create_roles(self.project, self.postgres, self.folder, self.migrate)
        self.key = self.project.must("python", "-c", CREATE, **self.variables).split()[-1]

    def start(self) -> None:
        for one in self.instances:
            one.start(wait=False)
        self.edge.start()
        self.wait_until_ready()

    def wait_until_ready(self) -> float:
        """Until every instance is."""
        begun = time.monotonic()
        for one in self.instances:
            one.wait_until_ready()
        return time.monotonic() - begun

    def end(self) -> None:
        for one in (*self.instances, self.edge, self.redis, self.postgres):
            if one.process is not None:
                one.thaw()
                one.kill()

    def client(self, source: str = "127.0.0.1", **headers: str) -> Client:
        return Client(f"https://127.0.0.1:{self.edge.port}", {"Host": HOST} | headers, self.certificate, source)

    @property
    def certificate(self) -> str:
        return str(self.folder / "secrets/tls.crt")

    def program(self, source: str = "127.0.0.1") -> Client:
        """A client with the API key."""
        return self.client(source, **{"X-API-Key": self.key})

    def person(self, token: str, source: str = "127.0.0.1") -> Client:
        return self.client(source, Authorization=f"Bearer {token}")

    def at_instance(self, one: Instance, **headers: str) -> Client:
        return Client(one.address, BESIDE_NGINX | headers, self.certificate)

    @contextmanager
    def under_load(self, rate: float = 20, clients: int = 10) -> Iterator[Load]:
        """So many requests a second: notes read and written, a route without SQL, changes that are audited."""
        old = "DELETE FROM api_keys USING accounts WHERE accounts.id = account_id AND kind = 'person'"
        self.postgres.sql(old, database=edge.DATABASE)  # of loads before: an account has at most 100
        token, load, ended = self.client("127.0.0.9").log_in()["access_token"], Load(), threading.Event()
        pause = clients / rate

        def run(number: int) -> None:
            source = f"127.0.0.{10 + number}"
            callers = Caller(load, self.program(source)), Caller(load, self.person(token, source))
            ended.wait(pause * number / clients)
            for turn in count(number):
                begun = time.monotonic()
                callers[turn % 2].take_turn(turn // 2)
                if ended.wait(max(0, begun + pause - time.monotonic())):
                    break

        with ThreadPoolExecutor(clients) as pool:
            running = [pool.submit(run, number) for number in range(clients)]
            try:
                yield load
            finally:
                ended.set()
        for one in running:
            one.result()

    def lost(self, load: Load) -> int:
        """How many acknowledged writes are not in the database."""
        names = "SELECT title FROM notes UNION ALL SELECT name FROM api_keys"
        stored = set(self.postgres.sql(names, database=edge.DATABASE).split("\n"))
        return len(set(load.acknowledged) - stored)

    def verify(self) -> str:
        """The audit chain verifies; the number of rows."""
        return self.manage("audit", "verify").strip()

    def check(self, load: Load) -> str:
        """After a fault: the service is back, nothing that was acknowledged is lost, the chain verifies."""
        self.wait_until_ready()
        assert self.program().status("POST", "/notes", json={"title": "after"}) == 201
        assert load.acknowledged
        lost = self.lost(load)
        assert lost == 0, f"{lost} of {len(load.acknowledged)} lost"
        self.verify()
        return f"{len(load.acknowledged)} acknowledged writes, 0 lost"
