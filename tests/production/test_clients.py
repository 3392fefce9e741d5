"""Slow and hostile clients, through nginx as deploy/ has it. Each docstring is a row of docs/faults.md."""

import socket
import ssl
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

import pytest

from tests.production.edge import HOST
from tests.production.processes import until
from tests.production.service import Load, Production

pytestmark = [pytest.mark.server, pytest.mark.postgres, pytest.mark.slow, pytest.mark.nightly]
Seen = Callable[[str], None]
SOURCES = [f"127.0.0.{number}" for number in range(200, 205)]
CONNECTIONS = 200


@contextmanager
def connections(production: Production, text: str) -> Iterator[list[ssl.SSLSocket]]:
    """Connections to nginx from five addresses, each of which has sent this text and nothing more."""
    context = ssl.create_default_context(cafile=production.certificate)
    with ExitStack() as stack:
        opened = []
        for number in range(CONNECTIONS):
            plain = socket.socket()
            plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            plain.settimeout(20)
            plain.bind((SOURCES[number % len(SOURCES)], 0))
            plain.connect(("127.0.0.1", production.edge.port))
            opened.append(stack.enter_context(context.wrap_socket(plain, server_hostname="127.0.0.1")))
            opened[-1].sendall(text.encode())
            time.sleep(0.1)
        yield opened


def is_cut(one: ssl.SSLSocket) -> bool:
    """Whether the server has ended this connection; what it sent before is read."""
    one.settimeout(0.01)
    try:
        while one.recv(65536):
            pass
    except (TimeoutError, ssl.SSLWantReadError):
        return False
    except OSError:
        pass
    return True


def cut_after(opened: list[ssl.SSLSocket], seconds: float) -> float:
    """When the last of these connections was cut."""
    left = list(opened)

    def all_cut() -> bool:
        left[:] = [one for one in left if not is_cut(one)]
        return not left

    return until(all_cut, seconds, every=0.5)


def others_are_served(load: Load) -> str:
    assert load.failed() == 0, load.statuses()
    assert load.slowest() < 5
    return f"{len(load.seen)} requests of others, 0 failed, the slowest {load.slowest():.1f} s"


def test_half_sent_headers(production: Production, seen: Seen) -> None:
    """200 connections of 5 clients send half a header.

    nginx cuts them after `client_header_timeout`; others are served meanwhile.
    """
    with (
        production.under_load() as load,
        connections(production, f"GET /notes HTTP/1.1\r\nHost: {HOST}\r\nX-Half:") as all_,
    ):
        took = cut_after(all_, 40)

    seen(f"all cut after {took:.0f} s; {others_are_served(load)}; {production.check(load)}")


def test_half_sent_bodies(production: Production, seen: Seen) -> None:
    """200 connections of 5 clients send half a body.

    nginx cuts them after `client_body_timeout`, and the service never sees them; others are served meanwhile.
    """
    head = f"POST /notes HTTP/1.1\r\nHost: {HOST}\r\nX-API-Key: {production.key}\r\nContent-Type: application/json\r\n"
    with production.under_load() as load, connections(production, f"{head}Content-Length: 1000\r\n\r\n{{") as opened:
        took = cut_after(opened, 40)

    seen(f"all cut after {took:.0f} s; {others_are_served(load)}; {production.check(load)}")


def test_slow_readers(production: Production, seen: Seen) -> None:
    """200 connections of 5 clients ask for 200 kB and read nothing.

    nginx takes the response and cuts them after `send_timeout`; the service is done with them, others are served.
    """
    scopes = ("--scope", "notes:read", "--scope", "notes:write")
    key = production.manage("keys", "issue", "--account", "reader", *scopes).strip()
    client = production.client(**{"X-API-Key": key})
    for _ in range(20):
        assert client.status("POST", "/notes", json={"title": "long", "body": "x" * 10_000}) == 201
    assert len(client.call("GET", "/notes?limit=20").content) > 200_000
    head = f"GET /notes?limit=20 HTTP/1.1\r\nHost: {HOST}\r\nX-API-Key: {key}\r\n\r\n"
    with production.under_load() as load, connections(production, head):
        time.sleep(10)

    seen(f"{others_are_served(load)}; {production.check(load)}")
