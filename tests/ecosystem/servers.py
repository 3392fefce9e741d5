"""gunicorn, granian, hypercorn | as is | one process behind a proxy; several processes need `RATE_LIMIT_STORAGE_URL`"""

import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

PACKAGES = ["gunicorn", "uvicorn-worker", "granian", "hypercorn"]
COMMANDS = {
    "gunicorn": ["gunicorn", "-k", "uvicorn_worker.UvicornWorker", "-b", "127.0.0.1:{port}", "app.main:app"],
    "granian": ["granian", "--interface", "asgi", "--port", "{port}", "app.main:app"],
    "hypercorn": ["hypercorn", "-b", "127.0.0.1:{port}", "app.main:app"],
}


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def status_of(url: str) -> int:
    for _ in range(300):
        try:
            return int(urllib.request.urlopen(url, timeout=5).status)  # noqa: S310
        except urllib.error.HTTPError as error:
            return error.code
        except OSError:
            time.sleep(0.1)
    raise AssertionError("no server")


@pytest.mark.parametrize("server", COMMANDS)
def test_it_serves(server: str, tmp_path: Path) -> None:
    port = free_port()
    variables = {**os.environ, "FASTAPI_ENV": "development", "DATABASE_URL": f"sqlite:///{tmp_path / 'app.sqlite3'}"}
    subprocess.run([sys.executable, "-m", "app.manage", "migrate"], env=variables, check=True, capture_output=True)
    command = [word.format(port=port) for word in COMMANDS[server]]
    with subprocess.Popen([sys.executable, "-m", *command], env=variables) as running:
        try:
            assert status_of(f"http://127.0.0.1:{port}/health/ready") == 200
            assert status_of(f"http://127.0.0.1:{port}/notes") == 401
        finally:
            running.terminate()
