"""Attacks this service with OWASP ZAP, as nobody and as somebody, and fails on what it finds.

    uv run python .github/security/zap_scan.py [folder for the reports]

It starts the service with production's settings and its own database, so nothing of yours is touched; but every
operation is called, so give what reaches other services an address of nothing in `.github/zap.env`. It needs Docker (on
Linux, for the network of the host), or a `zap-api-scan.py` that can start ZAP.
"""

import importlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

import zap_service
from waivers import ROOT, conclude
from zap_callers import examples, scanner
from zap_document import Document
from zap_forwarder import Credential, Forwarder
from zap_judge import ANONYMOUS, LOGGED_IN, RULES, judge

# The digest decides; add-ons are those of the image, since what ZAP would load at its start changes every week.
IMAGE = "ghcr.io/zaproxy/zaproxy:2.17.0@sha256:781a2bdaea47324e7bab583e2263f21d257b0aee61ed51521a5be45f5f5081ef"
SCAN = "zap-api-scan.py"
COMPLETED = (0, 1, 2)  # of ZAP: nothing, something that fails, something to look at; with 3 it could not scan
LONGEST = 2400  # seconds for one scan; CI's job has 90 minutes for both


def zap(shared: Path) -> list[str]:
    """How to call ZAP's packaged scan with the files of a folder. Raises: SystemExit when ZAP is not here."""
    if found := shutil.which(SCAN):
        return [found, *options(shared)]
    if not shutil.which("docker"):
        raise SystemExit(f"ZAP is not here: install Docker, or put {SCAN} on the PATH. Nothing was scanned.")
    inside = Path("/zap/wrk")
    run = ["docker", "run", "--rm", "--network", "host", "--volume", f"{shared}:{inside}:rw", IMAGE, SCAN]
    return [*run, *options(inside)]


def options(folder: Path) -> list[str]:
    document, rules, report = (str(folder / name) for name in ("openapi.json", "rules.tsv", "report.json"))
    return ["-t", document, "-f", "openapi", "-c", rules, "-J", report, "-z", "-silent"]


def create(port: int, credential: Credential, path: str, body: Any) -> str | None:
    """Make a resource as the scan's own caller; its id."""
    headers = dict([credential]) | {"X-Forwarded-For": "192.0.2.1"}
    status, answer = zap_service.ask(port, "POST", path, headers, body)
    return str(answer["id"]) if status in (200, 201) and isinstance(answer, dict) and "id" in answer else None


def scan(name: str, forwarder: Forwarder, document: dict[str, Any], reports: Path) -> None:
    """One run of ZAP against this document. Raises: SystemExit when it could not do it."""
    with tempfile.TemporaryDirectory(prefix="zap-") as scratch:
        shared = Path(scratch)
        (shared / "openapi.json").write_text(json.dumps(document))
        shutil.copyfile(RULES, shared / "rules.tsv")
        for path in (shared, *shared.iterdir()):
            path.chmod(0o777)  # the image has a user of its own, who reads and writes here
        sys.stdout.write(f"\n--- ZAP, {name}, at {forwarder.url}\n")
        sys.stdout.flush()
        try:
            code = subprocess.run(zap(shared), cwd=shared, timeout=LONGEST).returncode
        except subprocess.TimeoutExpired:
            raise SystemExit(f"ZAP did not end the {name} scan within {LONGEST} seconds") from None
        if code not in COMPLETED or not (shared / "report.json").exists():
            raise SystemExit(f"ZAP could not do the {name} scan: exit code {code}")
        shutil.copyfile(shared / "report.json", reports / f"{name}.json")


def attack(port: int, reports: Path) -> None:
    """Both scans of the service at this port."""
    from app.main import app  # with the settings of the service, which are in the environment by now

    original, foreign = app.openapi(), set[str]()
    (reports / "openapi.json").write_text(json.dumps(original))
    for name, address in (("anonymous", ANONYMOUS), ("logged-in", LOGGED_IN)):
        account, log_in = scanner(app)
        with Forwarder(port, address, log_in if address == LOGGED_IN else None) as forwarder:
            filled, credential = Document(original, examples(app, account)), log_in()
            document = filled.fill(forwarder.url, partial(create, port, credential))
            sys.stdout.writelines(f"not attacked: {line}\n" for line in filled.left_out)
            scan(name, forwarder, document, reports)
        foreign |= forwarder.foreign_origins
    (reports / "foreign-origins.json").write_text(json.dumps(sorted(foreign)))


def known_settings() -> set[str]:
    """The variables that this project's settings read."""
    from app.security.core import settings

    importlib.import_module("app.main")  # which brings them all
    return settings.known_names()


def main(reports: Path) -> int:
    zap(reports)  # before anything is started: is it here?
    shutil.rmtree(reports, ignore_errors=True)
    reports.mkdir(parents=True)
    with tempfile.TemporaryDirectory(prefix="scanned-") as scratch:
        environment = zap_service.variables(Path(scratch))
        os.environ.clear()
        os.environ.update(environment)
        zap_service.migrate(environment)
        if "RATE_LIMIT" in known_settings():
            zap_service.prove_limits(environment, Path(scratch) / "limited.log")
        with zap_service.served(environment, reports / "service.log") as port:
            attack(port, reports)
    return conclude("zap", judge(reports))


if __name__ == "__main__":
    raise SystemExit(main(Path(*sys.argv[1:2]) if sys.argv[1:] else ROOT / "zap-report"))
