"""A generated project, started on a real port for a measurement, with a person who is logged in."""

import json
import os
import secrets
import subprocess
import tempfile
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PASSWORD = "correct staple 7 battery horse"  # noqa: S105
NAME = "someone@example.com"
# A route that says who is calling and touches no database, on the app and last in an included router: what a caller
# who was seen just now costs.
WHOAMI = """
async def whoami(caller: Caller) -> dict[str, str | list[str]]:
    return {"id": str(caller.id), "name": "someone@example.com", "roles": sorted(caller.roles)}


router.get("/by/whoami", dependencies=[require_scope("notes:read")])(whoami)
"""
ON_THE_APP = """    app.get("/whoami", dependencies=[require_scope("notes:read")])(notes.whoami)
    app.include_router(notes.router)
"""


def generate(folder: Path) -> None:
    """Render the working tree with everything on, and install what it needs."""
    from copier import run_copy

    template = Path(__file__).resolve().parents[1]
    data = {"project_name": "Bench", "cors_origins": "https://app.example.com"}
    run_copy(str(template), folder, data=data, defaults=True, quiet=True, vcs_ref="HEAD")
    with (folder / "app/api/notes.py").open("a") as file:
        file.write(WHOAMI)
    main = folder / "app/main.py"
    imported = "from app.security.identity import require_scope\nfrom app.security.compose import"
    text = main.read_text().replace("    app.include_router(notes.router)\n", ON_THE_APP)
    main.write_text(text.replace("from app.security.compose import", imported))
    own = {name: value for name, value in os.environ.items() if name != "VIRTUAL_ENV"}
    subprocess.run(["uv", "sync", "--quiet"], cwd=folder, env=own, check=True)


@contextmanager
def migrated(**more: str) -> Iterator[tuple[Path, dict[str, str]]]:
    """A new project with its tables, gone afterwards: its folder, and the variables that it runs with."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "bench"
        generate(folder)
        variables = environment(folder, **more)
        manage(folder, variables, "migrate")
        yield folder, variables


def python(folder: Path) -> str:
    """The interpreter of the generated project."""
    return str(folder / ".venv/bin/python")


def environment(folder: Path, **more: str) -> dict[str, str]:
    return {
        **os.environ,
        "PYTHONPATH": str(folder),
        "FASTAPI_ENV": "production",
        "PUBLIC_BASE_URL": "https://api.example.com",
        "TRUSTED_HOSTS": "127.0.0.1",
        "TRUSTED_PROXIES": "127.0.0.1",
        "ALLOW_SQLITE_IN_PRODUCTION": "true",
        "SECRET_KEY": secrets.token_hex(64),
        "AUDIT_KEY": secrets.token_hex(64),
        **more,
    }


def manage(folder: Path, variables: dict[str, str], *arguments: str, typed: str = "") -> str:
    """Run a command of the project, and return what it printed."""
    command = [python(folder), "-W", "ignore", "-m", "app.manage", *arguments]
    done = subprocess.run(command, cwd=folder, env=variables, input=typed, text=True, check=True, capture_output=True)
    return done.stdout


@contextmanager
def serve(folder: Path, port: int, variables: dict[str, str], app: str = "app.main:app") -> Iterator[int]:
    """One uvicorn worker without its own access log; ours writes its events to a file. Yields the pid."""
    command = [python(folder), "-m", "uvicorn", app, "--port", str(port), "--no-access-log"]
    command += ["--no-server-header", "--no-proxy-headers", "--log-level", "warning"]
    with (folder / f"events-{port}.jsonl").open("w") as output:
        server = subprocess.Popen(command, cwd=folder, env=variables, stdout=output, stderr=output)
        try:
            _wait_for(port, server)
            yield server.pid
        finally:
            server.terminate()
            server.wait(10)


def _wait_for(port: int, server: "subprocess.Popen[bytes]") -> None:
    for _ in range(600):
        if server.poll() is not None:
            raise RuntimeError(f"the server on port {port} ended: see its events file")
        try:
            call(port, "/health/live")
        except urllib.error.HTTPError:
            return  # the bare app has no such route, and it answers
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise RuntimeError(f"no answer on port {port}")


def call(port: int, path: str, form: dict[str, str] | None = None) -> str:
    data = urllib.parse.urlencode(form).encode() if form else None
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", data, {"X-Forwarded-Proto": "https"})
    with urllib.request.urlopen(request, timeout=10) as answer:
        return str(answer.read().decode())


def log_in(port: int) -> str:
    """The header of somebody who has just logged in."""
    form = {"grant_type": "password", "username": NAME, "password": PASSWORD}
    return f"Authorization: Bearer {json.loads(call(port, '/auth/token', form))['access_token']}"


def issue_key(folder: Path, variables: dict[str, str]) -> str:
    """The header of a program with a key."""
    key = manage(folder, variables, "keys", "issue", "--account", "bench", "--scope", "notes:read")
    return f"X-API-Key: {key.strip()}"
