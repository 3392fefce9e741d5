"""A generated service on a real port, called by an OAuth2 client that knows nothing of us."""

import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
import requests
from authlib.integrations.requests_client import OAuth2Session

from tests.rendering import Project

pytestmark = pytest.mark.server

NAME, PASSWORD = "alice@example.com", "correct staple 7 battery horse"
SECRET = "00112233445566778899aabbccddeeff" * 4
PRODUCTION = {
    "PUBLIC_BASE_URL": "https://api.example.com",
    "TRUSTED_HOSTS": "127.0.0.1",
    "TRUSTED_PROXIES": "127.0.0.1",
    "ALLOW_SQLITE_IN_PRODUCTION": "true",
    "SECRET_KEY": SECRET,
    "AUDIT_KEY": SECRET[::-1],
}
CREATE = f"""
import asyncio
from app.database import Database
from app.security.access import accounts
from app.security.authentication.passwords import PasswordHasher, PasswordSettings
async def create():
    hashed = await PasswordHasher(PasswordSettings.current()).hash("{PASSWORD}")
    async with Database().begin() as db:
        await accounts.create(db, "{NAME}", password_hash=hashed)
asyncio.run(create())
"""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def served(project: Project, *command: str, **variables: str) -> Iterator[str]:
    """Start this command with a port, and yield its address once it answers."""
    assert project.environment
    port = free_port()
    environment = project.environment.variables() | variables
    with project.file("server.log").open("w") as log:
        server = subprocess.Popen(
            [*command, "--port", str(port)], cwd=project.path, env=environment, stdout=log, stderr=log
        )
        try:
            address = f"http://127.0.0.1:{port}"
            _wait_for(f"{address}/health/live", server, project)
            yield address
        finally:
            server.send_signal(signal.SIGINT)
            server.wait(20)


def _wait_for(url: str, server: "subprocess.Popen[bytes]", project: Project) -> None:
    for _ in range(300):
        assert server.poll() is None, project.read("server.log")
        try:
            requests.get(url, timeout=5)
        except requests.ConnectionError:
            time.sleep(0.1)
        else:
            return
    raise AssertionError(project.read("server.log"))


def log_in_call_refresh_and_log_out(address: str) -> None:
    client = OAuth2Session(token_endpoint_auth_method="none")
    client.headers["X-Forwarded-Proto"] = "https"

    first = client.fetch_token(f"{address}/auth/token", username=NAME, password=PASSWORD)
    assert client.get(f"{address}/users/me").json()["name"] == NAME

    second = client.refresh_token(f"{address}/auth/token", refresh_token=first["refresh_token"])
    assert second["refresh_token"] != first["refresh_token"]
    assert client.get(f"{address}/users/me").status_code == 200

    assert client.post(f"{address}/auth/logout").status_code == 204
    assert client.get(f"{address}/users/me").status_code == 401
    again = {"grant_type": "refresh_token", "refresh_token": second["refresh_token"]}
    headers = {"X-Forwarded-Proto": "https"}
    assert requests.post(f"{address}/auth/token", again, headers=headers, timeout=5).json()["error"] == "invalid_grant"


def test_an_oauth2_client_works_in_production(project: Callable[..., Project]) -> None:
    service = project()
    service.must("python", "-m", "app.manage", "migrate", **PRODUCTION)
    service.must("python", "-c", CREATE, **PRODUCTION)

    with served(
        service, "uvicorn", "app.main:app", "--no-proxy-headers", "--no-server-header", **PRODUCTION
    ) as address:
        log_in_call_refresh_and_log_out(address)
        plain = requests.get(f"{address}/users/me", timeout=5, allow_redirects=False)

    assert plain.status_code == 403
    assert "server" not in plain.headers


def test_a_fresh_project_is_served_at_once(project: Callable[..., Project]) -> None:
    service = project()

    with served(service, "fastapi", "dev", "--no-reload") as address:
        assert requests.get(f"{address}/docs", timeout=5).status_code == 200
        service.must("python", "-c", CREATE)
        log_in_call_refresh_and_log_out(address)


def refusal(service: Project, **variables: str) -> tuple[int, str]:
    done = service.run("fastapi", "run", "--port", str(free_port()), **variables)
    return done.returncode, done.stdout + done.stderr


def test_the_development_env_file_is_not_enough_for_production(project: Callable[..., Project]) -> None:
    service = project()

    code, printed = refusal(service)

    assert code == 78
    assert all(name in printed for name in ("PUBLIC_BASE_URL", "TRUSTED_HOSTS", "DATABASE_URL"))
    assert service.read(".env").split("SECRET_KEY=")[1].strip() not in printed


def test_there_is_no_third_environment(project: Callable[..., Project]) -> None:
    code, printed = refusal(project(), FASTAPI_ENV="staging")

    assert code == 78
    assert "FASTAPI_ENV" in printed


def test_a_forgotten_route_stops_the_server_and_is_named(project: Callable[..., Project]) -> None:
    service = project()
    service.replace("app/main.py", "    secure(app)\n", '    app.get("/forgotten")(lambda: None)\n    secure(app)\n')
    service.must("python", "-m", "app.manage", "migrate", **PRODUCTION)

    done = service.run("uvicorn", "app.main:app", "--port", str(free_port()), **PRODUCTION)

    assert done.returncode != 0
    assert "GET /forgotten" in done.stdout + done.stderr
