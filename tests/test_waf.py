"""The web application firewall: the rules that `manage waf` generates, in ModSecurity and in nginx.

Debian's packages have CRS 3.3; the image of deploy/compose.yaml has CRS 4.25. docs/security/waf.md has figures of both.
"""

import http.client
import json
import os
import re
import shutil
import socket
import ssl
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import libmodsecurity
import pytest

from tests.rendering import Project, Template
from tests.test_deploy import lay_out_nginx
from tests.test_real_server import CREATE, NAME, PASSWORD, PRODUCTION, free_port, served
from tests.variants import ALL
from tests.waf_engine import DEBIAN, NEEDS_GEOIP, Engine, lay_out
from tests.waf_figures import engines, refused, table
from tests.waf_requests import (
    ATTACKS,
    FORM,
    IN_FREE_TEXT,
    JSON,
    REFUSED_BY_THE_APP,
    SHELL,
    UNION,
    Sent,
    form,
    get,
    harmless,
    note,
)

MANAGE = ("python", "-m", "app.manage")
DEVELOPMENT = {"FASTAPI_ENV": "development"}
MODULE = Path("/usr/lib/nginx/modules/ngx_http_modsecurity_module.so")
OF_THE_EDGE = b"Refused before it reached the service."
HOSTILE_PASSWORD = "' OR '1'='1' -- $(cat /etc/passwd)"


def _needs(path: Path, package: str) -> None:
    if not path.exists():
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(f"{package} is not installed")


@pytest.fixture(scope="module")
def service(runnable: Template) -> Project:
    """A project with its rules written. Change nothing in it."""
    _needs(DEBIAN.rules, "modsecurity-crs")
    made = runnable.copy_of(runnable.render(**ALL), runnable.scratch / "with-firewall")
    made.must(*MANAGE, "waf", **DEVELOPMENT)
    return made


@pytest.fixture(scope="module")
def engine(service: Project, tmp_path_factory: pytest.TempPathFactory) -> Engine:
    return Engine(lay_out(tmp_path_factory.mktemp("rules") / "modsecurity.d", service.file("deploy/waf")))


def test_no_harmless_request_is_refused_and_only_attacks_in_free_text_and_two_others_pass(engine: Engine) -> None:
    passed = [sent.kind for sent in ATTACKS if not engine.status(sent)]

    assert refused(engine, harmless()) == []
    assert [engine.status(sent) for sent in REFUSED_BY_THE_APP] == [415, 415, 415, 405, 404]
    assert engine.status(get("the exemptions of another path", "/users/me%3Fx")) == 400
    assert engine.status(get("a question mark in a parameter", "/notes?after=%3f")) == 0
    others = ["Java deserialisation", "prototype pollution"]  # CRS 4 stops the last
    assert passed == [sent.kind for sent in IN_FREE_TEXT] + others


@pytest.mark.nightly
def test_the_figures_of_the_documentation_are_those_of_the_rules(service: Project, tmp_path: Path) -> None:
    lines = service.read("docs/security/waf.md").splitlines()
    documented = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("|")]

    for row in table(engines(service.file("deploy/waf"), tmp_path)):
        name, *figures = (cell.strip() for cell in row.strip("|").split("|"))
        assert [name, *figures] in [columns[: 1 + len(figures)] for columns in documented]


@pytest.mark.nightly
def test_with_names_what_the_document_lacks_is_refused_too(project: Callable[..., Project], tmp_path: Path) -> None:
    service = project(**ALL)
    service.must(*MANAGE, "waf", "--names", **DEVELOPMENT)
    engine = Engine(lay_out(tmp_path / "modsecurity.d", service.file("deploy/waf")))

    assert len(refused(engine, ATTACKS)) == 35
    assert [sent.target for sent in refused(engine, harmless())] == ["/notes?utm_source=newsletter", "/notes?x"]
    assert engine.status(get("unknown parameter", "/notes?page=2")) == 400
    assert engine.status(note("unknown member", owner="me")) == 422
    assert engine.status(form("open form", "/auth/token", grant_type="password", client_id="x")) == 0  # RFC 6749 3.2


@pytest.mark.nightly
@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("    # Your routers", '    app.get("/status", dependencies=[public])(lambda: "ok")\n    # Your routers'),
        ('Body = Annotated[str, Field(max_length=10_000, examples=["Two bottles"]), FreeText()]', "Body = str"),
    ],
    ids=["route", "field"],
)
def test_a_new_route_or_field_turns_a_test_red_until_the_rules_are_written_again(
    project: Callable[..., Project], old: str, new: str
) -> None:
    service, suite = project(**ALL), ("python", "-m", "pytest", "-q", "tests/security/operations/test_waf.py")
    service.must(*suite)  # nothing is deployed yet
    service.must(*MANAGE, "waf", **DEVELOPMENT)
    service.must(*suite)

    service.replace(
        "app/main.py",
        "from fastapi import FastAPI\n",
        "from fastapi import FastAPI\n\nfrom app.security.identity import public\n",
    )
    service.replace("app/main.py" if "routers" in old else "app/api/notes.py", old, new)

    assert "uv run manage waf" in service.run(*suite).stdout
    service.must(*MANAGE, "waf", **DEVELOPMENT)
    service.must(*suite)


# What the firewall refuses in the tests of a project, and the app accepts; beside the API documents of development.
HOSTILE_HEADERS = {"test_no_identity_header_reaches_a_route"}  # a hundred, in which a client claims another address


@pytest.mark.nightly
def test_the_tests_of_a_project_pass_through_the_firewall(project: Callable[..., Project], tmp_path: Path) -> None:
    """Each request with the rules of its app. What they refuse has to be refused by the app, too.

    Without the audit log: it writes once a second, and the rules take so long that this falls into what tests measure.
    """
    _needs(DEBIAN.rules, "modsecurity-crs")
    service, packages, report = project(**ALL | {"audit_log": False}), tmp_path / "packages", tmp_path / "report.json"
    packages.mkdir()
    installed = Path(libmodsecurity.__file__).parents[1].glob("libmodsecurity*")
    for path in [*installed, Path(__file__).with_name("waf_plugin.py")]:
        (packages / path.name).symlink_to(path)
    main = lay_out(tmp_path / "modsecurity.d", service.file("deploy/waf"))
    (main.parent / "owasp-crs/rules" / NEEDS_GEOIP).unlink(missing_ok=True)
    variables = {"PYTHONPATH": str(packages), "WAF_FOLDER": str(main.parent), "WAF_REPORT": str(report)}

    service.must("python", "-m", "pytest", "-q", "-p", "waf_plugin", "-m", "", **variables)

    seen = json.loads(report.read_text())
    assert (seen["passed"] > 500, seen["refused"] > 50) == (True, True)
    accepted = {test for path, test in seen["accepted"] if not path.startswith(("/docs", "/openapi.json"))}
    assert accepted == HOSTILE_HEADERS


# In nginx


@dataclass
class Edge:
    """nginx with the files of deploy/, and the service behind it."""

    port: int
    folder: Path
    service: Project

    def send(self, sent: Sent, address: str = "127.0.0.1") -> tuple[int, bytes, dict[str, str]]:
        context = ssl.create_default_context(cafile=self.folder / "tls.crt")
        connection = http.client.HTTPSConnection(
            "127.0.0.1", self.port, timeout=20, context=context, source_address=(address, 0)
        )
        connection.putrequest(sent.method, sent.target, skip_host=True, skip_accept_encoding=True)
        for name, value in sent.all_headers().items():
            connection.putheader(name, value)
        connection.endheaders(sent.body or None)
        response = connection.getresponse()
        content = response.read()
        connection.close()
        return response.status, content, {name.lower(): value for name, value in response.getheaders()}

    def refuses(self, sent: Sent, address: str = "127.0.0.1") -> bool:
        return OF_THE_EDGE in self.send(sent, address)[1]

    def logs(self) -> str:
        files = [*self.folder.glob("*.log"), self.service.file("server.log")]
        return "\n".join(path.read_text(errors="replace") for path in files)


@pytest.fixture(scope="module")
def edge(service: Project, runnable: Template, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Edge]:
    _needs(MODULE, "libnginx-mod-http-modsecurity")
    variables = PRODUCTION | {"TRUSTED_HOSTS": "localhost", "RATE_LIMIT": "10000/minute"}
    service.must(*MANAGE, "migrate", **variables)
    service.must("python", "-c", CREATE.replace(PASSWORD, HOSTILE_PASSWORD), **variables)
    server = ("uvicorn", "app.main:app", "--no-proxy-headers", "--no-server-header")
    with served(service, *server, **variables) as address:
        folder, port = tmp_path_factory.mktemp("edge"), free_port()
        _lay_out(service.file("deploy"), folder, port, address.removeprefix("http://"))
        with (folder / "error.log").open("w") as log:
            command = (
                "nginx",
                "-e",
                "stderr",
                "-c",
                str(folder / "nginx.conf"),
                "-g",
                f"daemon off; pid {folder}/pid;",
            )
            nginx = subprocess.Popen(command, stdout=log, stderr=log)
        try:
            _wait_for(port, nginx, folder)
            yield Edge(port, folder, service)
        finally:
            nginx.terminate()
            nginx.wait(20)


def _lay_out(deploy: Path, folder: Path, port: int, api: str) -> None:
    lay_out_nginx(deploy, folder)
    main = lay_out(folder / "modsecurity.d", deploy / "waf")
    shutil.rmtree(main.parent / "owasp-crs/rules")
    (main.parent / "owasp-crs/rules").symlink_to(DEBIAN.rules)  # as README.md of deploy/ says
    server = (deploy / "waf/server.conf").read_text()
    (folder / "waf/server.conf").write_text(server.replace("/etc/modsecurity.d/modsecurity.conf", str(main)))
    site = re.sub(r"(?:    server [^;]+;\n)+", f"    server {api};\n", (folder / "site.conf").read_text())
    (folder / "site.conf").write_text(site.replace("listen 8443 ssl default_server", f"listen 127.0.0.1:{port} ssl"))


def _wait_for(port: int, nginx: "subprocess.Popen[bytes]", folder: Path) -> None:
    for _ in range(100):
        assert nginx.poll() is None, (folder / "error.log").read_text()
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.1)
    raise AssertionError("nginx does not listen")


@pytest.mark.nightly
def test_nginx_passes_on_what_is_harmless(edge: Edge) -> None:
    """From an address of its own: it logs in with wrong passwords."""
    assert [str(sent) for sent in harmless() if edge.refuses(sent, "127.0.0.2")] == []


@pytest.mark.nightly
def test_nginx_refuses_what_the_engine_refuses_with_a_problem_document(edge: Edge, engine: Engine) -> None:
    expected = [bool(engine.status(sent)) for sent in ATTACKS]

    assert [edge.refuses(sent) for sent in ATTACKS] == expected
    status, _, headers = edge.send(note("XSS", title="<script>alert(1)</script>"))
    assert (status, headers["content-type"], headers["x-content-type-options"]) == (
        403,
        "application/problem+json",
        "nosniff",
    )


@pytest.mark.nightly
def test_a_password_that_looks_like_an_attack_logs_in(edge: Edge) -> None:
    status, content, _ = edge.send(
        form("login", "/auth/token", grant_type="password", username=NAME, password=HOSTILE_PASSWORD)
    )

    assert (status, b"access_token" in content) == (200, True)


@pytest.mark.nightly
def test_the_service_gets_the_version_of_the_rules(edge: Edge) -> None:
    assert edge.send(get("readiness", "/health/ready"))[0] == 200
    assert "rules of another version" not in edge.logs()


def leaks() -> list[Sent]:
    """Requests with a secret, most of them refused: by CRS, by our rules, by the engine, by nginx."""
    secrets = iter(f"canary{number:04}" for number in range(1, 1000))
    json_type = {"Content-Type": JSON}
    return [
        get(
            "bearer beside an attack",
            f"/notes?after={SHELL.replace(' ', '%20')}",
            Authorization=f"Bearer {next(secrets)}",
        ),
        get("key beside an attack", "/notes?after=%3Cscript%3E", X_API_Key=next(secrets)),
        get("cookie beside an attack", "/notes?after=%3Cscript%3E", Cookie=f"session={next(secrets)}"),
        form("password beside an attack", "/auth/token", grant_type=UNION, username="a", password=next(secrets)),
        form(
            "hostile password", "/auth/token", grant_type="password", username="a", password=f"{UNION} {next(secrets)}"
        ),
        form("hostile name", "/auth/token", grant_type="password", username=f"{UNION} {next(secrets)}", password="x"),
        form("refresh token", "/auth/token", grant_type="refresh_token", refresh_token=f"rt_{next(secrets)}"),
        form("revoked token", "/auth/revoke", token=f"{next(secrets)}"),
        form("password on a wrong path", "/login", password=next(secrets)),
        Sent(
            "broken JSON", "POST", "/users/me/password", f'{{"current_password": "{next(secrets)}'.encode(), json_type
        ),
        Sent("form as JSON", "POST", "/auth/token", f"password={next(secrets)}".encode(), json_type),
        Sent(
            "JSON as a form",
            "POST",
            "/users/me/password",
            f'{{"new_password": "{next(secrets)}"}}'.encode(),
            {"Content-Type": FORM},
        ),
        Sent(
            "bad encoding", "POST", "/auth/token", b"password=%ff%zz" + next(secrets).encode(), {"Content-Type": FORM}
        ),
        Sent("large", "POST", "/auth/token", b"password=" + next(secrets).encode() * 8_000, {"Content-Type": FORM}),
        note("hostile title", title=f"<script>{next(secrets)}</script>"),
        note("unknown member", **{next(secrets): "x"}),
        get("secret in a query", f"/nowhere?token={next(secrets)}"),
        get("secret in a query beside an attack", f"/notes?after={UNION.replace(' ', '%20')}{next(secrets)}"),
        get("referer", "/notes?after=%3Cscript%3E", Referer=f"https://example.com/?token={next(secrets)}"),
        get("agent", "/notes", User_Agent=f"sqlmap {next(secrets)}"),
        get("long", f"/notes?after={next(secrets)}{'x' * 9_000}"),
        Sent("method", "TRACE", f"/notes?token={next(secrets)}"),
    ]


@pytest.mark.nightly
def test_no_secret_of_a_refused_request_is_in_any_log(edge: Edge) -> None:
    requests = leaks()

    statuses = [edge.send(sent)[0] for sent in requests]

    assert statuses.count(403) >= 8
    assert '"path":"/nowhere","status":404,"upstream":""' in edge.logs()
    assert re.findall(r"canary\d+", edge.logs()) == []
