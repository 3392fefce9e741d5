"""What a client can do with bare bytes, tried on uvicorn with both of its parsers: neither is strict enough alone."""

import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest

from app.security.core.settings import ROOT
from app.security.http.headers import HEADERS
from tests.security.fixtures import BASE_ENVIRONMENT

pytestmark = pytest.mark.server

HOST = b"Host: 127.0.0.1\r\n"
JSON = b"Content-Type: application/json\r\n"
CHUNKED = b"Transfer-Encoding: chunked\r\n"
TWO_MEBIBYTES = b"8000\r\n" + b"a" * 0x8000 + b"\r\n"
SMUGGLED = b"0\r\n\r\nGET /health/ready HTTP/1.1\r\n" + HOST + b"\r\n"
OPTIONS = ["--no-server-header", "--no-proxy-headers", "--no-access-log", "--timeout-keep-alive", "5"]


@dataclass
class Server:
    port: int
    pid: int
    parser: str
    log: Path

    def send(self, *parts: bytes, wait: float = 5, pause: float = 0) -> bytes:
        """Everything that comes back until the connection is quiet or closed."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=wait) as connection:
            try:
                for part in parts:
                    connection.sendall(part)
                    time.sleep(pause)
            except ConnectionError:
                pass  # it was refused before it was read to its end
            return _received(connection)

    def memory_mib(self) -> float:
        status = Path(f"/proc/{self.pid}/status").read_text()
        return int(re.findall(r"VmHWM:\s+(\d+)", status)[0]) / 1024


def _received(connection: socket.socket) -> bytes:
    found = b""
    try:
        while part := connection.recv(65536):
            found += part
            connection.settimeout(0.05)
    except (TimeoutError, ConnectionError):
        pass
    return found


def statuses(answer: bytes) -> list[int]:
    return [int(status) for status in re.findall(rb"HTTP/1\.1 (\d{3})", answer)]


def request(line: bytes, headers: bytes = HOST, body: bytes = b"") -> bytes:
    return line + b" HTTP/1.1\r\n" + headers + b"\r\n" + body


@pytest.fixture(scope="module", params=["h11", "httptools"])
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("server")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [
        sys.executable,
        "-m",
        "uvicorn",
        "--factory",
        "tests.security.sample_resource:app_of_things",
        "--port",
        str(port),
        "--http",
        request.param,
        *OPTIONS,
    ]
    variables = os.environ | BASE_ENVIRONMENT | {"DATABASE_URL": f"sqlite:///{folder / 'wire.sqlite3'}"}
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(command, cwd=ROOT, env=variables, stdout=log, stderr=log)
        try:
            yield _answering(Server(port, process.pid, request.param, folder / "log"), process)
        finally:
            process.terminate()
            process.wait(20)


def _answering(server: Server, process: "subprocess.Popen[bytes]") -> Server:
    for _ in range(300):
        assert process.poll() is None, server.log.read_text()
        try:
            server.send(ALIVE)
        except ConnectionError:
            time.sleep(0.1)
        else:
            return server
    raise AssertionError(server.log.read_text())


ALIVE = request(b"GET /health/live", HOST + b"Connection: close\r\n")
ATTACKS = {
    "two hosts": request(b"GET /things", HOST + b"Host: evil.example\r\n"),
    "no host": request(b"GET /things", b""),
    "another host": request(b"GET /things", b"Host: evil.example\r\n"),
    "a host that is no name": request(b"GET /things", b"Host: 127.0.0.1/@evil\r\n"),
    "two lengths": request(b"POST /things", HOST + JSON + b"Content-Length: 2\r\nContent-Length: 3\r\n", b"{}"),
    "a length and chunks": request(b"POST /things", HOST + JSON + CHUNKED + b"Content-Length: 4\r\n", SMUGGLED),
    "a length that is no number": request(b"POST /things", HOST + JSON + b"Content-Length: +2\r\n", b"{}"),
    "a target without a slash": request(b"GET @evil.example/things"),
    "a long header": request(b"GET /things", HOST + b"X-Long: " + b"a" * 20_000 + b"\r\n"),
    "many headers": request(b"GET /things", HOST + b"".join(b"X-%d: %s\r\n" % (n, b"a" * 50) for n in range(400))),
    "a long target": request(b"GET /" + b"a" * 5000),
    "a long query": request(b"GET /things?" + b"a" * 5000),
    "two credentials": request(b"GET /things", HOST + b"Authorization: Bearer a\r\nAuthorization: Bearer b\r\n"),
    "two media types": request(b"POST /things", HOST + JSON + JSON + b"Content-Length: 2\r\n", b"{}"),
    "endless chunks": request(b"POST /things/judged", HOST + JSON + CHUNKED, TWO_MEBIBYTES * 64),
    "a stranger's endless chunks": request(b"POST /things", HOST + JSON + CHUNKED, TWO_MEBIBYTES * 64),
    "a length too large": request(b"POST /things", HOST + JSON + b"Content-Length: 2097152\r\n"),
    "a question whether it is too large": request(
        b"POST /things", HOST + JSON + b"Expect: 100-continue\r\nContent-Length: 2097152\r\n"
    ),
    "a zero byte in a header": request(b"GET /things", HOST + b"X-Odd: a\0b\r\n"),
    "a folded header": request(b"GET /things", HOST + b"X-Odd: a\r\n b: c\r\nAuthorization: Bearer x\r\n"),
    "TRACE": request(b"TRACE /health/live"),
    "CONNECT": request(b"CONNECT evil.example:443"),
    "an unknown method": request(b"BREW /health/live"),
    "every resource": request(b"OPTIONS *"),
    "bytes that are no request": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\0" * 200 + b"\r\n\r\n",
    "a socket without a caller": request(
        b"GET /things",
        HOST + b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
        b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n",
    ),
}
EXACTLY = {
    **{"no host": 400, "another host": 400, "a host that is no name": 400},
    **{"two hosts": 400, "a length and chunks": 400, "a target without a slash": 400, "two credentials": 400},
    **{"a long header": 431, "many headers": 431, "a long target": 414, "a long query": 414, "endless chunks": 413},
    **{"a length too large": 413, "a question whether it is too large": 413, "TRACE": 405, "two media types": 400},
    **{"a stranger's endless chunks": 401, "a socket without a caller": 404},
}


@pytest.mark.parametrize("name", ATTACKS)
def test_it_is_refused_and_the_server_goes_on(server: Server, name: str) -> None:
    answer = server.send(ATTACKS[name])

    found = statuses(answer)
    assert len(found) <= 1  # never a second answer: nothing was smuggled
    assert [status for status in found if not 400 <= status < 500] == []
    assert name not in EXACTLY or found == [EXACTLY[name]]
    assert b"\r\nserver:" not in answer.lower()
    if b"x-request-id" in answer:  # else the parser answered, and it never reached the app
        assert [header for header in HEADERS if f"\r\n{header}: ".lower().encode() not in answer.lower()] == []
        assert b"content-type: application/problem+json" in answer
    assert statuses(server.send(ALIVE)) == [200]


def test_a_refused_socket_is_no_error_of_the_log_nor_its_query_a_line(server: Server) -> None:
    server.send(ATTACKS["a socket without a caller"].replace(b"/things", b"/things?token=hunter2"))

    assert statuses(server.send(ALIVE)) == [200]
    assert "handshake" not in server.log.read_text()
    assert "hunter2" not in server.log.read_text()


def test_a_body_that_no_route_reads_is_not_kept(server: Server) -> None:
    before = server.memory_mib()
    unread = request(b"DELETE /things/00000000-0000-4000-8000-000000000000", HOST + JSON + CHUNKED)

    with ThreadPoolExecutor(10) as pool:
        answers = list(pool.map(lambda _: server.send(unread, *[TWO_MEBIBYTES] * 640), range(10)))

    assert {status for answer in answers for status in statuses(answer)} <= {401, 413}
    assert server.memory_mib() - before < 64  # of 200 MiB that were sent


def test_a_well_formed_request_is_answered(server: Server) -> None:
    body = b"b\r\n" + b'{"title":7}' + b"\r\n0\r\n\r\n"

    assert statuses(server.send(ALIVE)) == [200]
    assert statuses(server.send(request(b"GET /things"))) == [401]
    assert statuses(server.send(request(b"POST /things", HOST + JSON + CHUNKED, body))) == [401]


def test_a_trailer_does_not_say_where_a_request_comes_from(server: Server) -> None:
    proxied = b"X-Forwarded-For: 203.0.113.9\r\n"
    body = b"b\r\n" + b'{"title":7}' + b"\r\n0\r\nX-Forwarded-For: 6.6.6.6\r\n\r\n"

    found = statuses(server.send(request(b"POST /things", HOST + JSON + CHUNKED + proxied, body)))

    assert found == [400 if server.parser == "httptools" else 401]  # the other keeps trailers apart


PREFLIGHT = b"Origin: https://evil.example\r\nAccess-Control-Request-Method: POST\r\n"


@pytest.mark.parametrize("upgrade", [b"h2c", b"websocket", b"websocket, h2c", b""])
@pytest.mark.parametrize(
    ("line", "more", "status"),
    [
        (b"CONNECT /things", JSON, 405),
        (b"CONNECT http://127.0.0.1/things", JSON, 405),
        (b"POST /things", JSON, 401),
        (b"POST /nowhere", b"", 404),
        (b"GET /health/live", JSON, 200),
        (b"OPTIONS /things", PREFLIGHT, 400),
    ],
)
def test_a_body_beside_an_upgrade_is_no_second_request(
    server: Server, line: bytes, more: bytes, status: int, upgrade: bytes
) -> None:
    length = b"Content-Length: %d\r\n" % len(ALIVE)
    asked = b"Connection: Upgrade\r\nUpgrade: " + upgrade + b"\r\n" if upgrade else b""
    begun = request(line, HOST + asked + more + length)

    answer = server.send(begun, ALIVE, pause=0.2, wait=1)

    assert statuses(answer) in ([status], [400], [])
    assert statuses(server.send(ALIVE)) == [200]


def test_two_requests_on_one_connection_are_two_answers(server: Server) -> None:
    assert statuses(server.send(request(b"GET /health/live") * 2)) == [200, 200]
