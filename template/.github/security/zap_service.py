"""The service as it ships, to be scanned: production's settings and command, its own database and its own secrets."""

import http.client
import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from dotenv import dotenv_values
from waivers import ROOT

# Yours: what your own settings need to start, such as an address that nothing answers at.
OWN = ROOT / ".github/zap.env"
KNOWN = ("PATH", "HOME", "LANG", "TMPDIR", "PYTHONPATH", "VIRTUAL_ENV", "SSL_CERT_FILE")
DOCKER = ("DOCKER_HOST", "DOCKER_CONTEXT", "DOCKER_CONFIG", "XDG_RUNTIME_DIR")  # where its engine is
# README.md, "Run it in production".
COMMAND = ("--no-server-header", "--no-proxy-headers", "--no-access-log", "--timeout-keep-alive", "5")
LIMIT = "30000/minute"  # of one caller: a hundred times the default, or the scan would meet nothing but 429
READY_SECONDS = 60


def variables(folder: Path) -> dict[str, str]:
    """Everything that the service is started with: nothing of this shell, and nothing that production refuses."""
    bare = {name: os.environ[name] for name in (*KNOWN, *DOCKER) if name in os.environ}
    settings = {
        "DATABASE_URL": f"sqlite:///{folder / 'scanned.sqlite3'}",
        "ALLOW_SQLITE_IN_PRODUCTION": "true",
        "PUBLIC_BASE_URL": "https://scanned.invalid",
        "TRUSTED_HOSTS": "127.0.0.1",
        "TRUSTED_PROXIES": "127.0.0.1",
        "SECRET_KEY": secrets.token_hex(64),
        "AUDIT_KEY": secrets.token_hex(64),
        "RATE_LIMIT": LIMIT,
    }
    own = dotenv_values(OWN) if OWN.exists() else {}
    return bare | settings | {name: value for name, value in own.items() if value is not None}


def migrate(environment: Mapping[str, str]) -> None:
    _must(environment, "-m", "app.manage", "migrate")


def _must(environment: Mapping[str, str], *arguments: str) -> None:
    done = subprocess.run([sys.executable, *arguments], cwd=ROOT, env=environment, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{' '.join(arguments)} failed:\n{done.stdout}{done.stderr}")


@contextmanager
def served(environment: Mapping[str, str], log: Path) -> Iterator[int]:
    """Start the service, yield its port once it is ready, and keep what it writes."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    command = [sys.executable, "-m", "uvicorn", "app.main:app", *COMMAND, "--port", str(port)]
    with log.open("w") as output:
        server = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=output, stderr=output)
        try:
            _wait(server, port, log)
            yield port
        finally:
            server.send_signal(signal.SIGINT)
            server.wait(30)


def prove_limits(environment: Mapping[str, str], log: Path) -> None:
    """Before the limit is raised for the scan: the second request of one caller in a minute meets it."""
    with served({**environment, "RATE_LIMIT": "2/minute"}, log) as port:
        statuses = [ask(port, "GET", "/", {"X-Forwarded-For": "192.0.2.30"})[0] for _ in range(3)]
    if statuses[-1] != 429 or 429 in statuses[:-1]:
        raise SystemExit(f"The limit of requests does not hold: {statuses} at 2/minute")


def _wait(server: "subprocess.Popen[bytes]", port: int, log: Path) -> None:
    until = time.monotonic() + READY_SECONDS
    while time.monotonic() < until and server.poll() is None:
        try:
            if ask(port, "GET", "/health/ready")[0] == 200:
                return
        except OSError:
            time.sleep(0.1)
    raise SystemExit(f"The service does not start with production's settings:\n{log.read_text()[-4000:]}")


def ask(
    port: int, method: str, path: str, headers: Mapping[str, str] | None = None, body: object = None
) -> tuple[int, Any]:
    """One request as the proxy would pass it on: the status, and what the answer holds."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    sent = {"X-Forwarded-Proto": "https", "Content-Type": "application/json"} | dict(headers or {})
    try:
        connection.request(method, path, None if body is None else json.dumps(body), sent)
        answer = connection.getresponse()
        text = answer.read()
        return answer.status, json.loads(text) if "json" in (answer.getheader("Content-Type") or "") else None
    finally:
        connection.close()
