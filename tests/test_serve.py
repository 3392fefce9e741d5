"""`manage serve` as a process: refused starts, JSON lines, several workers, and an end without a failed request."""

import json
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass

import pytest
import requests

from tests.rendering import Project
from tests.test_real_server import PRODUCTION, free_port

pytestmark = pytest.mark.server

SERVE = ("python", "-m", "app.manage", "serve")
TWO = {"RATE_LIMIT_STORAGE_URL": "redis://127.0.0.1:1"}  # which nobody answers: each counts its share


@dataclass
class Served:
    process: "subprocess.Popen[str]"
    address: str
    session: requests.Session

    @property
    def listening(self) -> tuple[str, int]:
        return "127.0.0.1", int(self.address.rpartition(":")[2])

    def get(self, path: str) -> requests.Response:
        return self.session.get(self.address + path, timeout=60)

    def stop(self) -> tuple[list[dict[str, str]], str]:
        """SIGTERM. Returns the lines of stdout, and stderr."""
        self.process.send_signal(signal.SIGTERM)
        printed, errors = self.process.communicate(timeout=120)
        return [json.loads(line) for line in printed.splitlines()], errors


@contextmanager
def serving(service: Project, *options: str, **variables: str) -> Iterator[Served]:
    assert service.environment
    port = free_port()
    process = subprocess.Popen(
        [*SERVE, "--port", str(port), *options],
        cwd=service.path,
        env=service.environment.variables() | PRODUCTION | variables,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with requests.Session() as session:
        served = Served(process, f"http://127.0.0.1:{port}", session)
        try:
            _wait_for(served)
            yield served
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGINT)
                process.communicate(timeout=120)


def _wait_for(served: Served) -> None:
    for _ in range(300):
        assert served.process.poll() is None, served.process.communicate()
        try:
            if served.get("/health/ready").status_code == 200:
                return
        except requests.ConnectionError:
            pass
        time.sleep(0.3)
    raise AssertionError("it did not start")


@pytest.fixture
def service(project: Callable[..., Project]) -> Project:
    made = project()
    made.must("python", "-m", "app.manage", "migrate", **PRODUCTION)
    return made


def test_a_refused_start_ends_with_78_and_every_reason(service: Project) -> None:
    weak = PRODUCTION | {"TRUSTED_HOSTS": "", "DATABASE_POOL_SIZE": "0"}

    refused = service.run(*SERVE, "--workers", "2", **weak)

    assert (refused.returncode, refused.stdout) == (78, "")
    assert "TRUSTED_HOSTS: " in refused.stderr
    assert "DATABASE_POOL_SIZE: " in refused.stderr


def test_sigterm_turns_readiness_before_the_server_ends(service: Project) -> None:
    with serving(service, SHUTDOWN_DRAIN_SECONDS="3") as served:
        before = served.get("/health/live")

        served.process.send_signal(signal.SIGTERM)
        time.sleep(0.5)
        ready, live = served.get("/health/ready"), served.get("/health/live")
        lines, errors = served.stop()  # the second SIGTERM, as systemd sends it to every process

    assert [one.headers.get("connection") for one in (before, ready, live)] == [None, "close", "close"]
    assert [one.status_code for one in (before, ready, live)] == [200, 503, 200]
    assert "server" not in live.headers
    assert (served.process.returncode, errors) == (0, "")
    assert [line["event"] for line in lines if line["event"].startswith("sys_")] == ["sys_startup", "sys_shutdown"]


@pytest.mark.nightly
def test_an_unprotected_app_ends_with_78_before_it_listens(service: Project) -> None:
    service.replace("app/main.py", "    secure(app)\n", '    app.get("/forgotten")(lambda: None)\n    secure(app)\n')

    refused = service.run(*SERVE, **PRODUCTION)

    assert (refused.returncode, "GET /forgotten" in refused.stderr) == (78, True)


@pytest.mark.nightly
def test_few_open_files_are_a_warning_and_none_is_an_error(service: Project) -> None:
    service.write("few.sh", 'ulimit -n 64 && exec "$@"\n')
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tests.test_serve.SERVE", ("bash", "few.sh", *SERVE))
        with serving(service, SHUTDOWN_DRAIN_SECONDS="0") as served, ExitStack() as stack:
            port = int(served.address.rpartition(":")[2])
            for _ in range(64):
                stack.enter_context(socket.create_connection(("127.0.0.1", port)))
            time.sleep(12)
            stack.close()
            after = served.get("/health/live").status_code
            lines, _ = served.stop()

    messages = [line.get("message", "") for line in lines]
    assert [one for one in messages if "64 open files are too few" in one]
    assert [one for one in messages if "connections are refused (Too many open files)" in one]
    assert after == 200


@pytest.mark.nightly
def test_several_workers_print_json_alone_and_end_with_0(service: Project) -> None:
    service.append("app/api/__init__.py", '\nimport warnings\n\nwarnings.warn("planted", UserWarning)\n')
    with serving(service, "--workers", "2", SHUTDOWN_DRAIN_SECONDS="1", **TWO) as served:
        lines, errors = served.stop()

    assert (served.process.returncode, errors) == (0, "")
    assert len([line for line in lines if "planted" in line.get("message", "")]) == 3  # the check's, too
    assert len([line for line in lines if line["event"] == "sys_shutdown"]) == 2


@pytest.mark.nightly
@pytest.mark.parametrize(("secret_changes", "code"), [(True, 78), (False, 3)])
def test_a_worker_that_cannot_start_ends_its_server(service: Project, secret_changes: bool, code: int) -> None:
    """With 78 where a secret file has become invalid since the check; else with 3, so that it is tried again."""
    service.write("secret", PRODUCTION["SECRET_KEY"])
    then = "pathlib.Path('secret').write_text('x')" if secret_changes else "raise SystemExit(3)"
    service.write(
        "app/main.py",
        f"import multiprocessing\nimport pathlib\n\nif multiprocessing.parent_process():\n    {then}\n"
        + service.read("app/main.py"),
    )

    variables = {**PRODUCTION, **TWO, "SECRET_KEY": "", "SECRET_KEY_FILE": "secret"}
    refused = service.run(*SERVE, "--workers", "2", "--port", "0", **variables)

    assert refused.returncode == code
    assert ("SECRET_KEY: " in refused.stderr) is secret_changes


@pytest.mark.nightly
def test_without_redis_all_processes_of_all_instances_allow_the_limit_once(service: Project) -> None:
    limited = {**TWO, "INSTANCES": "2", "RATE_LIMIT": "40/hour", "SHUTDOWN_DRAIN_SECONDS": "0"}
    with (
        serving(service, "--workers", "2", **limited) as one,
        serving(service, "--workers", "2", **limited) as other,
    ):
        # A new connection each, so that the kernel spreads them over the workers.
        addresses = [f"{served.address}/users/me" for served in (one, other) * 60]
        https = {"X-Forwarded-Proto": "https"}
        statuses = [requests.get(address, headers=https, timeout=60).status_code for address in addresses]

    assert set(statuses) == {401, 429}
    assert 20 < statuses.count(401) <= 40


SOCKET = """
from fastapi import APIRouter, WebSocket

from app.security.identity import public

router = APIRouter()


@router.websocket("/socket", dependencies=[public])
async def echo(socket: WebSocket) -> None:
    await socket.accept()
    await socket.receive_text()
"""
PING = b"\x89\xfd" + b"\0" * 4 + b"x" * 125  # masked with nothing
FLOOD = 64 * 1024 * 1024  # bytes, more than the buffers of both ends


def test_who_sends_pings_and_reads_nothing_is_not_read_any_more(service: Project) -> None:
    """Else the responses wait in the memory of the server, without a bound."""
    service.write("app/api/echo.py", SOCKET)
    service.replace("app/main.py", "from app.api import ", "from app.api import echo, ")
    service.replace("app/main.py", "    # Your routers", "    app.include_router(echo.router)\n    # Your routers")
    asked = (
        "GET /socket HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Forwarded-Proto: https\r\nUpgrade: websocket\r\n"
        "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
    )
    with serving(service) as served, socket.create_connection(served.listening, timeout=3) as client:
        client.sendall(asked.encode())
        assert client.recv(1024).startswith(b"HTTP/1.1 101 ")
        sent = 0
        with suppress(TimeoutError):
            while sent < FLOOD:
                sent += client.send(PING * 1000)

        assert sent < FLOOD
        assert served.get("/health/ready").status_code == 200
