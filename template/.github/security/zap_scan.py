"""Attacks this service with OWASP ZAP, unauthenticated and as a caller with every right, and fails on what it finds.

    uv run python .github/security/zap_scan.py [folder for the reports]

It serves the app with production's settings and a database of its own. Every operation is called, so give other
services a harmless address in `.github/zap.env`. It needs Docker (on Linux, for the host's network), or
`zap-api-scan.py` on the PATH.
"""

import http.client
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from dotenv import dotenv_values
from waivers import ROOT, conclude
from zap_judge import CLIENTS, RULES, judge

# The digest decides. Add-ons are those of the image: what ZAP would download changes every week.
IMAGE = "ghcr.io/zaproxy/zaproxy:2.17.0@sha256:781a2bdaea47324e7bab583e2263f21d257b0aee61ed51521a5be45f5f5081ef"
SCAN = "zap-api-scan.py"
COMPLETED = (0, 1, 2)  # no alert, FAIL, WARN; 3 is an error
OWN = ROOT / ".github/zap.env"
# docs/security/operations.md, "Start and stop".
SERVER = ("--no-server-header", "--no-proxy-headers", "--no-access-log", "--timeout-keep-alive", "5")


def zap(shared: Path) -> list[str]:
    """The command of ZAP's packaged scan. Raises: SystemExit when ZAP is not installed."""
    program, folder = [shutil.which(SCAN) or ""], shared
    if not program[0]:
        if not shutil.which("docker"):
            raise SystemExit(f"ZAP is not installed: install Docker, or put {SCAN} on the PATH. Nothing was scanned.")
        folder = Path("/zap/wrk")
        program = ["docker", "run", "--rm", "--network", "host", "--volume", f"{shared}:{folder}:rw", IMAGE, SCAN]
    document, rules, report = (str(folder / name) for name in ("openapi.json", "rules.tsv", "report.json"))
    return [*program, "-t", document, "-f", "openapi", "-c", rules, "-J", report, "-z", "-silent"]


def settings(scratch: Path) -> dict[str, str]:
    """Settings that production accepts, with a limit of requests that a scan does not reach."""
    own = dotenv_values(OWN) if OWN.exists() else {}
    return {
        "DATABASE_URL": f"sqlite:///{scratch / 'scanned.sqlite3'}",
        "ALLOW_SQLITE_IN_PRODUCTION": "true",
        "PUBLIC_BASE_URL": "https://scanned.invalid",
        "TRUSTED_HOSTS": "127.0.0.1",
        "TRUSTED_PROXIES": "127.0.0.1",
        "SECRET_KEY": secrets.token_hex(64),
        "AUDIT_KEY": secrets.token_hex(64),
        "RATE_LIMIT": "30000/minute",
    } | {name: value for name, value in own.items() if value is not None}


@contextmanager
def served(port: int, log: Path, client: str, account: str) -> Iterator[None]:
    """The service behind zap_target's proxy, once it is ready; its output is appended to the log."""
    command = [sys.executable, "-m", "uvicorn", "--app-dir", str(Path(__file__).parent), "zap_target:app", *SERVER]
    variables = {"ZAP_CLIENT": client, "ZAP_ACCOUNT": account, "PYTHONUNBUFFERED": "1"}
    with log.open("a") as output:
        server = subprocess.Popen(
            [*command, "--port", str(port)], cwd=ROOT, env=os.environ | variables, stdout=output, stderr=output
        )
        try:
            until = time.monotonic() + 60
            while not _listens(port):
                if time.monotonic() > until or server.poll() is not None:
                    raise SystemExit(
                        f"The service does not start with production's settings:\n{log.read_text()[-4000:]}"
                    )
                time.sleep(0.1)
            yield
        finally:
            server.send_signal(signal.SIGINT)
            server.wait(30)


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def create(port: int, path: str, body: Any) -> str | None:
    """POST a resource; its id."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    connection.request("POST", path, None if body is None else json.dumps(body), {"Content-Type": "application/json"})
    response = connection.getresponse()
    text = response.read()
    created = json.loads(text) if response.status in (200, 201) and text else None
    return str(created["id"]) if isinstance(created, dict) and "id" in created else None


def scan(name: str, document: dict[str, Any], reports: Path) -> None:
    """One run of ZAP on this document. Raises: SystemExit when ZAP could not finish it."""
    with tempfile.TemporaryDirectory(prefix="zap-") as scratch:
        shared = Path(scratch)
        (shared / "openapi.json").write_text(json.dumps(document))
        shutil.copyfile(RULES, shared / "rules.tsv")
        for path in (shared, *shared.iterdir()):
            path.chmod(0o777)  # the container has a user of its own
        sys.stdout.write(f"\n--- ZAP, {name}\n")
        sys.stdout.flush()
        code = subprocess.run(zap(shared), cwd=shared).returncode
        if code not in COMPLETED or not (shared / "report.json").exists():
            raise SystemExit(f"ZAP could not do the {name} scan: exit code {code}")
        shutil.copyfile(shared / "report.json", reports / f"{name}.json")


def attack(reports: Path) -> None:
    """Both scans: first as a caller with every right, whose resources the examples name."""
    from zap_target import Document, create_account

    from app.main import app  # reads the settings
    from app.security.operations.terminal import run

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    (reports / "openapi.json").write_text(json.dumps(app.openapi()))
    account, document = str(run(create_account)), None
    for name, client in CLIENTS.items():
        with served(port, reports / "service.log", client, account if name == "authenticated" else ""):
            if document is None:
                document = Document(app.openapi(), partial(create, port)).filled(f"http://127.0.0.1:{port}")
            scan(name, document, reports)


def main(reports: Path) -> int:
    zap(reports)  # fail before anything is started
    shutil.rmtree(reports, ignore_errors=True)
    reports.mkdir(parents=True)
    with tempfile.TemporaryDirectory(prefix="scanned-") as scratch:
        os.environ.pop("FASTAPI_ENV", None)  # production
        os.environ.update(settings(Path(scratch)))
        subprocess.run([sys.executable, "-m", "app.manage", "migrate"], cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
        attack(reports)
    return conclude("zap", judge(reports))


if __name__ == "__main__":
    raise SystemExit(main(Path(*sys.argv[1:2]) if sys.argv[1:] else ROOT / "zap-report"))
