"""Attacks this service with OWASP ZAP, unauthenticated and as a caller with every right, and fails on what it finds.

    uv run python .github/security/zap_scan.py [folder for the reports]

It serves the app with production's settings and a database of its own. Every operation is called, so give other
services a harmless address in `.github/zap.env`. It needs Docker (on Linux, for the host's network), or
`zap-api-scan.py` on the PATH.
"""

import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2
from dotenv import dotenv_values
from waivers import ROOT, conclude
from zap_judge import CLIENTS, RULES, judge

# The digest decides. Add-ons are those of the image: what ZAP would download changes every week.
IMAGE = "ghcr.io/zaproxy/zaproxy:2.17.0@sha256:781a2bdaea47324e7bab583e2263f21d257b0aee61ed51521a5be45f5f5081ef"
SCAN = "zap-api-scan.py"
COMPLETED = (0, 1, 2)  # no alert, FAIL, WARN; 3 is an error
OWN = ROOT / ".github/zap.env"
# docs/security/operations.md, "Start and stop".
SERVER = ("--factory", "--no-server-header", "--no-proxy-headers", "--no-access-log", "--timeout-keep-alive", "5")


def zap(reports: Path) -> list[str]:
    """ZAP's packaged scan, whose files are those of this folder. Raises: SystemExit when ZAP is not installed."""
    if program := shutil.which(SCAN):
        return [program]
    if not shutil.which("docker"):
        raise SystemExit(f"ZAP is not installed: install Docker, or put {SCAN} on the PATH. Nothing was scanned.")
    return ["docker", "run", "--rm", "--network", "host", "--volume", f"{reports}:/zap/wrk:rw", IMAGE, SCAN]


def settings(scratch: Path) -> dict[str, str]:
    """Settings that production accepts, with a limit of requests that a scan does not reach."""
    return {
        "DATABASE_URL": f"sqlite:///{scratch / 'scanned.sqlite3'}",
        "ALLOW_SQLITE_IN_PRODUCTION": "true",
        "PUBLIC_BASE_URL": "https://scanned.invalid",
        "TRUSTED_HOSTS": "127.0.0.1",
        "TRUSTED_PROXIES": "127.0.0.1",
        "SECRET_KEY": secrets.token_hex(64),
        "AUDIT_KEY": secrets.token_hex(64),
        "RATE_LIMIT": "30000/minute",
    } | {name: value for name, value in dotenv_values(OWN).items() if value is not None}


@contextmanager
def served(name: str, port: int, log: Path) -> Iterator[int]:
    """The port of the service behind zap_target's proxy, once it responds; its output is appended to the log."""
    command = [sys.executable, "-m", "uvicorn", "--app-dir", str(Path(__file__).parent), "zap_target:Proxy", *SERVER]
    variables = os.environ | {"ZAP_SCAN": name, "PYTHONUNBUFFERED": "1"}
    with log.open("a") as output, socket.create_server(("127.0.0.1", port)) as listening:
        port = listening.getsockname()[1]
        command += ["--fd", str(listening.fileno())]  # a request waits until the service is ready
        server = subprocess.Popen(
            command, pass_fds=[listening.fileno()], cwd=ROOT, env=variables, stdout=output, stderr=output
        )
    try:
        httpx2.get(f"http://127.0.0.1:{port}", timeout=60, trust_env=False)
        yield port
    except httpx2.TransportError:
        text = log.read_text()[-4000:]
        raise SystemExit(f"The service does not respond with production's settings:\n{text}") from None
    finally:
        server.send_signal(signal.SIGINT)
        server.wait(30)


def scan(name: str, reports: Path) -> None:
    """One run of ZAP. Raises: SystemExit when ZAP could not finish it."""
    sys.stdout.write(f"\n--- ZAP, {name}\n")
    sys.stdout.flush()
    options = ["-t", "openapi.json", "-f", "openapi", "-c", RULES.name, "-J", f"{name}.json", "-z", "-silent"]
    code = subprocess.run([*zap(reports), *options], cwd=reports).returncode
    if code not in COMPLETED or not (reports / f"{name}.json").exists():
        raise SystemExit(f"ZAP could not do the {name} scan: exit code {code}")


def attack(reports: Path) -> None:
    """Both scans: first as a caller with every right, whose resources the examples name."""
    from zap_target import Document  # reads the settings

    port = 0  # any that is free
    for name in CLIENTS:
        with served(name, port, reports / "service.log") as port:
            if name == "authenticated":
                document = Document(f"http://127.0.0.1:{port}").filled()
                (reports / "openapi.json").write_text(json.dumps(document))
                shutil.copyfile(RULES, reports / RULES.name)
                for path in (reports, *reports.iterdir()):
                    path.chmod(0o777)  # the container has a user of its own
            scan(name, reports)


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
    raise SystemExit(main(Path(*sys.argv[1:2] or [str(ROOT / "zap-report")]).resolve()))
