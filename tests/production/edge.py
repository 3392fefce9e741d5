"""What stands in `deploy/` for one machine: nginx with TLS, the roles of PostgreSQL."""

import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

from tests.production.processes import Postgres, Server, free_port
from tests.rendering import Project

CERTIFICATE = "edge.pem"
CONFIGURATION = """
daemon off;
pid {folder}/nginx.pid;
error_log {folder}/nginx.log;
worker_processes 1;
events {{ worker_connections 2048; }}
http {{
    access_log off;
    client_body_temp_path {folder}/nginx-body;
    proxy_temp_path {folder}/nginx-proxy;
    fastcgi_temp_path {folder}/nginx-fastcgi;
    uwsgi_temp_path {folder}/nginx-uwsgi;
    scgi_temp_path {folder}/nginx-scgi;
    client_header_timeout 10s;
    client_body_timeout 10s;
    send_timeout 10s;
    limit_conn_zone $binary_remote_addr zone=addresses:1m;
    upstream service {{ {upstream} keepalive 16; }}
    server {{
        listen 127.0.0.1:{port} ssl;
        ssl_certificate {folder}/edge.pem;
        ssl_certificate_key {folder}/edge.key;
        limit_conn addresses 100;
        location / {{
            proxy_pass http://service;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_set_header Host $host;
            proxy_set_header X-Forwarded-For $remote_addr;
            proxy_set_header X-Forwarded-Proto $scheme;
            proxy_set_header X-Request-ID $request_id;
        }}
    }}
}}
"""
ROLES = """
GRANT USAGE ON SCHEMA public TO api;
GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO api;
GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO api;
REVOKE INSERT, UPDATE, DELETE ON alembic_version, alembic_version_security FROM api;
REVOKE UPDATE, DELETE ON audit_events FROM api;
"""


def certificate(folder: Path) -> None:
    names = "subjectAltName=IP:127.0.0.1,DNS:api.example.com"
    new = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    files = ["-keyout", str(folder / "edge.key"), "-out", str(folder / CERTIFICATE)]
    subject = ["-subj", "/CN=api.example.com", "-addext", names, "-days", "2"]
    subprocess.run([*new, *files, *subject], check=True, capture_output=True)


def nginx(project: Project, folder: Path, upstreams: Sequence[int]) -> Server:
    certificate(folder)
    port = free_port()
    upstream = " ".join(f"server 127.0.0.1:{one};" for one in upstreams)
    file = folder / "nginx.conf"
    file.write_text(CONFIGURATION.format(folder=folder, upstream=upstream, port=port))
    return Server(["nginx", "-c", str(file), "-p", str(folder)], port, folder / "nginx.log")


def create_roles(project: Project, postgres: Postgres, migrate: Callable[[], None]) -> None:
    """The role of the service, and the schema with what it may do there."""
    postgres.sql("CREATE ROLE api LOGIN PASSWORD 'secret'", database="service")
    migrate()
    postgres.sql(ROLES, database="service")
