"""The documents of a project's `deploy/` on one machine: secrets, nginx, roles of PostgreSQL, users of Redis.

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

HOST = "api.example.com"  # of deploy/settings.env
SLUG, DATABASE = "demo-service", "demo_service"


def secrets(project: Project, folder: Path, postgres_port: int, redis_port: int) -> dict[str, str]:
    """Make them as deploy/secrets.sh does. Returns the settings that name their files."""
    folder.mkdir(mode=0o700)
    _certificate(folder)
    project.must("sh", "deploy/secrets.sh", str(folder), "127.0.0.1", "127.0.0.1")
    for name in ("database_url", "migration_database_url", "rate_limit_storage_url"):
        text = (folder / name).read_text()
        (folder / name).unlink()
        (folder / name).write_text(text.replace(":5432/", f":{postgres_port}/").replace(":6379/", f":{redis_port}/"))
    names = ("secret_key", "audit_key", "database_url", "rate_limit_storage_url")
    return {f"{name.upper()}_FILE": str(folder / name) for name in names}


def _certificate(folder: Path) -> None:
    new = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    files = ["-keyout", str(folder / "tls.key"), "-out", str(folder / "tls.crt"), "-days", "2"]
    subject = ["-subj", "/CN=api.example.com", "-addext", "subjectAltName=IP:127.0.0.1"]
    subprocess.run([*new, *files, *subject], check=True, capture_output=True)


def settings(project: Project) -> dict[str, str]:
    """Those of deploy/settings.env."""
    lines = project.read("deploy/settings.env").splitlines()
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


def nginx(project: Project, folder: Path, upstreams: Sequence[int]) -> Server:
    """nginx of Debian with nginx.conf, api.conf and machine.conf."""
    port, here = free_port(), folder / "nginx"
    here.mkdir()
    for name in ("nginx.conf", "api.conf"):
        (here / name).write_text(project.read(f"deploy/nginx/{name}"))
    shutil.copy("/etc/nginx/mime.types", here)
    (here / "waf").mkdir()
    (here / "waf/server.conf").write_text("# The web application firewall has tests of its own.\n")
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
