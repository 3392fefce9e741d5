"""The documents of a project's `deploy/` on one machine: units, secrets, nginx, roles, users of Redis.

Changed are only addresses and folders: tests listen on free ports, below a folder of their own.
"""

import os
import re
import shutil
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

from tests.production.processes import Postgres, Server, free_port, redis
from tests.rendering import Project
from tests.waf_engine import lay_out

HOST = "api.example.com"  # of deploy/settings.env
SLUG, DATABASE = "demo-service", "demo_service"
UNIT = f"systemd/{SLUG}-api@.service"


def secrets(project: Project, folder: Path, postgres_port: int, redis_port: int) -> None:
    """Make them with deploy/secrets.sh; the certificate is one for this address."""
    folder.mkdir(mode=0o700)
    _certificate(folder)
    addresses = (f"127.0.0.1:{postgres_port}", f"127.0.0.1:{redis_port}")
    project.must("sh", "deploy/secrets.sh", str(folder), *addresses)


def _certificate(folder: Path) -> None:
    new = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    files = ["-keyout", str(folder / "tls.key"), "-out", str(folder / "tls.crt"), "-days", "2"]
    subject = ["-subj", "/CN=api.example.com", "-addext", "subjectAltName=IP:127.0.0.1"]
    subprocess.run([*new, *files, *subject], check=True, capture_output=True)


def settings(project: Project, secrets: Path) -> dict[str, str]:
    """Those of settings.env and of the units in systemd/."""
    found = dict(line.split("=", 1) for line in _lines(project, "settings.env"))
    for line in (*_lines(project, f"systemd/{SLUG}-.service.d/hardening.conf"), *_lines(project, UNIT)):
        if line.startswith("Environment="):
            found |= dict(word.split("=", 1) for word in line.removeprefix("Environment=").split())
    return {name: value.replace("%d", str(secrets)) for name, value in found.items()}


def command(project: Project, port: int, workers: int) -> list[str]:
    """How the unit starts an instance, from the environment of the tests."""
    (line,) = [line for line in _lines(project, UNIT) if line.startswith("ExecStart=")]
    words = _replaced(line, f"ExecStart=/srv/{SLUG}/.venv/bin/manage", "python -m app.manage")
    return _replaced(_replaced(words, "%i", str(port)), "--workers 2", f"--workers {workers}").split()


def _lines(project: Project, name: str) -> list[str]:
    return [line for line in project.read(f"deploy/{name}").splitlines() if line and not line.startswith("#")]


def nginx(project: Project, folder: Path, upstreams: Sequence[int]) -> Server:
    """nginx of Debian with nginx.conf, api.conf and machine.conf."""
    port, here = free_port(), folder / "nginx"
    here.mkdir()
    for name in ("nginx.conf", "api.conf"):
        (here / name).write_text(project.read(f"deploy/nginx/{name}"))
    shutil.copy("/etc/nginx/mime.types", here)
    _firewall(project, here)
    site = project.read("deploy/nginx/machine.conf")
    for number, upstream in enumerate(upstreams, 8001):
        site = _replaced(site, f"127.0.0.1:{number}", f"127.0.0.1:{upstream}")
    site = _replaced(site, "listen 443 ", f"listen 127.0.0.1:{port} ")
    site = re.sub(r".*listen \[::\]:443.*\n", "", site)
    site = _replaced(site, f"/etc/{SLUG}/tls/", f"{folder}/secrets/")
    site = _replaced(site, f"/var/log/nginx/{SLUG}.log", f"{here}/access.log")
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    site += "".join(f"{kind}_temp_path {here}/{kind};\n" for kind in kinds)
    (here / "site.conf").write_text(site)
    options = ["-g", f"daemon off; pid {here}/pid;" + ("" if os.geteuid() else " user www-data;")]
    return Server(["nginx", "-e", "stderr", "-c", str(here / "nginx.conf"), *options], port, folder / "nginx.log")


def _firewall(project: Project, here: Path) -> None:
    """ModSecurity with the rules that `manage waf` writes for this project, and the Core Rule Set of Debian."""
    project.must("python", "-m", "app.manage", "waf", FASTAPI_ENV="development")
    rules = lay_out(here / "modsecurity.d", project.file("deploy/waf"))
    server = project.read("deploy/waf/server.conf")
    (here / "waf").mkdir()
    (here / "waf/server.conf").write_text(_replaced(server, "/etc/modsecurity.d/modsecurity.conf", str(rules)))


def _replaced(text: str, old: str, new: str) -> str:
    assert old in text, old
    return text.replace(old, new)


def redis_with_users(folder: Path) -> Server:
    """Redis as compose.yaml starts it."""
    memory = ("--appendonly", "no", "--maxmemory", "64mb", "--maxmemory-policy", "noeviction")
    return redis(folder, *memory, "--aclfile", str(folder / "secrets/users.acl"))


def create_roles(project: Project, postgres: Postgres, folder: Path, migrate: Callable[[], None]) -> None:
    """The database, its two roles, and the schema with what they may do there."""
    script = project.file("deploy/postgresql/roles.sql").read_text()
    postgres.sql(f"\\set secrets {folder}/secrets\n{script}")
    migrate()
    owner = (folder / "secrets/migration_database_url").read_text().strip()
    grants = project.file("deploy/postgresql/grants.sql").read_text()
    command = ["psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", owner]
    subprocess.run(command, input=grants, text=True, check=True, capture_output=True)
