"""nginx as it is shipped, in front of a server that shows what reaches it; time-outs are three seconds."""

import json
import re
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import requests

from tests.nightly import some
from tests.rendering import Template
from tests.test_deploy import lay_out_nginx, needed
from tests.test_real_server import free_port
from tests.variants import ALL

pytestmark = pytest.mark.server
LARGE = b"x" * 8_000_000
FORGED = ("X-Forwarded-For", "X-Forwarded-Proto", "X-Request-ID", "Host", "X_Forwarded_For", "x-forwarded-for")


@dataclass
class Upstream:
    """Stands in for an instance of the API."""

    port: int
    seen: list[list[tuple[str, str]]] = field(default_factory=list)
    finished: int = 0


@contextmanager
def _upstream() -> Iterator[Upstream]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            upstream.seen.append(self.headers.items())
            body = LARGE if self.path == "/large" else b"{}"
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)
            upstream.finished += 1

        do_POST = do_GET

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    upstream = Upstream(server.server_port)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield upstream
    server.shutdown()
    server.server_close()


@dataclass
class Edge:
    port: int
    certificate: str
    upstream: Upstream

    def get(self, path: str, **options: object) -> requests.Response:
        return requests.get(f"https://localhost:{self.port}{path}", verify=self.certificate, timeout=20, **options)  # type: ignore[arg-type]

    def connect(self) -> ssl.SSLSocket:
        context = ssl.create_default_context(cafile=self.certificate)
        raw = socket.create_connection(("127.0.0.1", self.port), timeout=20)
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        return context.wrap_socket(raw, server_hostname="localhost")

    def say(self, data: bytes) -> bytes:
        """Send this and nothing else, and read until the other side closes."""
        with self.connect() as connection:
            connection.sendall(data)
            received = b""
            while piece := connection.recv(4096):
                received += piece
            return received


@contextmanager
def _edge(deploy: Path, folder: Path) -> Iterator[Edge]:
    program, port = needed("nginx"), free_port()
    lay_out_nginx(deploy, folder)
    with _upstream() as upstream:
        site = (folder / "site.conf").read_text().replace("8443", f"127.0.0.1:{port}")
        site = re.sub(r"server 172[^;]+;", f"server 127.0.0.1:{upstream.port};", site, count=1)
        (folder / "site.conf").write_text(re.sub(r".*server 172[^;]+;\n", "", site))
        main = (folder / "nginx.conf").read_text()
        (folder / "nginx.conf").write_text(
            re.sub(r"(client_header|client_body|send)_timeout \d+s", r"\1_timeout 3s", main)
        )
        command = [program, "-e", "stderr", "-c", str(folder / "nginx.conf"), "-g", f"daemon off; pid {folder}/pid;"]
        process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        edge = Edge(port, str(folder / "tls.crt"), upstream)
        try:
            _until_it_listens(port)
            yield edge
        finally:
            process.terminate()
            process.wait(20)


def _until_it_listens(port: int) -> None:
    for _ in range(200):
        try:
            return socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            time.sleep(0.05)
    raise AssertionError("nginx does not listen")


@pytest.fixture(scope="module")
def edge(template: Template, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Edge]:
    with _edge(template.render(**ALL).file("deploy"), tmp_path_factory.mktemp("edge") / "nginx") as edge:
        yield edge


def _forge(edge: Edge) -> None:
    """Send 40 requests that forge each header in turn; none may change what the service trusts."""
    ids = set()
    for number in range(40):
        name = FORGED[number % len(FORGED)]
        value = {"X-Forwarded-Proto": "http", "Host": f"host-{number}.example"}.get(name, f"203.0.113.{number}")
        edge.get("/", headers={name: value})
        seen = edge.upstream.seen[-1]
        values = {one: [text for header, text in seen if header.lower() == one.lower()] for one in FORGED}
        assert values["X-Forwarded-For"] == ["127.0.0.1"]
        assert values["X-Forwarded-Proto"] == ["https"]
        assert values["X_Forwarded_For"] == []
        assert len(values["Host"]) == len(values["X-Request-ID"]) == 1
        assert re.fullmatch(r"[0-9a-f]{32}", values["X-Request-ID"][0])
        ids.add(values["X-Request-ID"][0])
    assert len(ids) == 40


def test_40_of_40_forged_headers_are_without_effect(edge: Edge) -> None:
    _forge(edge)


@pytest.mark.nightly
@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("X-Forwarded-For $remote_addr", "X-Forwarded-For $proxy_add_x_forwarded_for"),
        ("proxy_set_header X-Request-ID $request_id;", ""),
    ],
)
def test_a_header_that_is_passed_on_is_noticed(template: Template, tmp_path: Path, old: str, new: str) -> None:
    project = template.copy_of(template.render(**ALL), tmp_path / "project")
    project.replace("deploy/nginx/api.conf", old, new)

    with _edge(project.file("deploy"), tmp_path / "nginx") as edge, pytest.raises(AssertionError):
        _forge(edge)


HALF = {
    "headers": b"GET / HTTP/1.1\r\nHost: localhost\r\nX-Half: ",
    "body": b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{",
    "chunk": b"POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n64\r\n{",
}


@pytest.mark.parametrize("part", some(HALF))
def test_half_sent_requests_are_cut_and_never_reach_the_service(edge: Edge, part: str) -> None:
    before, started = len(edge.upstream.seen), time.monotonic()

    edge.say(HALF[part])

    assert time.monotonic() - started < 9
    assert len(edge.upstream.seen) == before


def test_slow_readers_hold_neither_the_service_nor_others(edge: Edge) -> None:
    before = edge.upstream.finished
    with ExitStack() as stack:
        for _ in range(10):
            stack.enter_context(edge.connect()).sendall(b"GET /large HTTP/1.1\r\nHost: localhost\r\n\r\n")
        deadline = time.monotonic() + 15
        while edge.upstream.finished < before + 10 and time.monotonic() < deadline:
            time.sleep(0.05)

        assert edge.upstream.finished == before + 10
        started = time.monotonic()
        assert edge.get("/").status_code == 200
        assert time.monotonic() - started < 2


@pytest.mark.nightly
def test_connections_of_one_address_are_bounded(edge: Edge) -> None:
    waiting = [edge.connect() for _ in range(70)]
    try:
        for one in waiting:
            one.sendall(HALF["body"])
        time.sleep(0.3)
        refused = edge.get("/")
    finally:
        for one in waiting:
            one.close()

    assert refused.status_code == 429
    assert refused.headers["Retry-After"] == "1"


REFUSED: dict[str, tuple[bytes, int]] = {
    "not http": (b"\x00\x01\x02\r\n\r\n", 400),
    "no host": (b"GET / HTTP/1.1\r\n\r\n", 400),
    "two lengths": (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", 400),
    "length and chunks": (
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        400,
    ),
    "long path": (b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", 414),
    "long header": (b"GET / HTTP/1.1\r\nHost: x\r\nX-Long: " + b"a" * 9000 + b"\r\n\r\n", 400),
    "large body": (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2000000\r\n\r\n", 413),
    "method": (b"CONNECT x:443 HTTP/1.1\r\nHost: x\r\n\r\n", 400),
}


def _problem(received: bytes) -> tuple[int, dict[str, str], dict[str, object]]:
    head, _, body = received.partition(b"\r\n\r\n")
    status, *lines = head.decode().split("\r\n")
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
    return int(status.split()[1]), headers, json.loads(body)


@pytest.mark.parametrize("name", some(REFUSED))
def test_what_the_edge_refuses_is_a_problem_document_with_the_security_headers(edge: Edge, name: str) -> None:
    sent, expected = REFUSED[name]
    before = len(edge.upstream.seen)

    status, headers, document = _problem(edge.say(sent))

    assert status == document["status"] == expected
    assert headers["content-type"] == "application/problem+json"
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["strict-transport-security"].startswith("max-age=")
    assert headers["server"] == "nginx"
    assert document["instance"] == f"urn:request:{headers['x-request-id']}"
    assert len(edge.upstream.seen) == before


@pytest.mark.nightly
def test_plain_http_and_a_service_that_is_away_get_problem_documents(
    template: Template, tmp_path: Path, edge: Edge
) -> None:
    plain = requests.get(f"http://localhost:{edge.port}/", timeout=10)
    with _edge(template.render(**ALL).file("deploy"), tmp_path / "nginx") as alone:
        path = tmp_path / "nginx/site.conf"
        path.write_text(path.read_text().replace(str(alone.upstream.port), str(free_port())))
        subprocess.run(
            ["nginx", "-c", str(tmp_path / "nginx/nginx.conf"), "-g", f"pid {tmp_path}/nginx/pid;", "-s", "reload"],
            check=True,
            stderr=subprocess.DEVNULL,
        )
        time.sleep(0.5)
        away = alone.get("/")

    assert plain.status_code == 400
    assert plain.json()["title"] == "Bad Request"
    assert (away.status_code, away.json()["title"], away.headers["Retry-After"]) == (502, "Bad Gateway", "1")


def test_websockets_pass(edge: Edge) -> None:
    edge.get("/", headers={"Upgrade": "websocket", "Connection": "Upgrade"})

    assert ("Connection", "upgrade") in edge.upstream.seen[-1]
    assert ("Upgrade", "websocket") in edge.upstream.seen[-1]


@pytest.mark.parametrize("upgrade", ["h2c", "websocket, h2c"])
def test_no_other_upgrade_is_passed_on(edge: Edge, upgrade: str) -> None:
    edge.get("/", headers={"Upgrade": upgrade, "Connection": "Upgrade"})

    assert [name for name, _ in edge.upstream.seen[-1] if name.lower() in ("upgrade", "connection")] == []
