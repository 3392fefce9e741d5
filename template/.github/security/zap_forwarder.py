"""Stands between ZAP and the service, where in production the proxy stands that ends TLS.

It passes every request on byte for byte, and adds what the proxy says (https, and who is calling), the credential of
the scan's own caller, and the origin of a foreign page. ZAP itself could send one fixed header; but an attack on the
log-out would end that log-in for the rest of the scan, and an access token ends after minutes. So a request that is
refused with 401 is sent once more with a new credential.
"""

import re
import socket
import socketserver
import threading
from collections.abc import Callable

FOREIGN = b"https://foreign-page.invalid"  # RFC 6761: nobody's
LONGEST_HEAD = 1024 * 1024
SECONDS = 90  # longer than the service's own deadlines
_LENGTH = re.compile(rb"^content-length:[ \t]*(\d{1,9})[ \t]*\r$", re.IGNORECASE | re.MULTILINE)
_OWN_CREDENTIAL = re.compile(rb"^(?:authorization|x-api-key):", re.IGNORECASE | re.MULTILINE)
_ORIGIN = re.compile(rb"^origin:", re.IGNORECASE | re.MULTILINE)
_CONNECTION = re.compile(rb"^(?:proxy-)?connection:[^\n]*\n", re.IGNORECASE | re.MULTILINE)
_ALLOWED = re.compile(rb"^access-control-allow-origin:[ \t]*(\S+)[ \t]*\r$", re.IGNORECASE | re.MULTILINE)

Credential = tuple[str, str]  # the name of a header and its value


class Forwarder(socketserver.ThreadingTCPServer):
    """Passes on to a port of this machine. `foreign_origins` fills with what a page of any origin may read."""

    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 128

    def __init__(self, port: int, address: str, log_in: Callable[[], Credential] | None) -> None:
        super().__init__(("127.0.0.1", 0), _Connection)
        self.upstream = port
        self.address = address
        self.log_in = log_in
        self.credential = log_in() if log_in else None
        self.renewing = threading.Lock()
        self.foreign_origins: set[str] = set()

    def __enter__(self) -> "Forwarder":
        threading.Thread(target=self.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *args: object) -> None:
        self.shutdown()
        self.server_close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def answer(self, head: bytes, body: bytes) -> bytes:
        used = None if _OWN_CREDENTIAL.search(head) else self.credential
        answer = self._ask(head, body, used)
        if used is not None and answer.split(b" ", 2)[1:2] == [b"401"]:
            answer = self._ask(head, body, self._renewed(used))
        return answer

    def _renewed(self, used: Credential) -> Credential | None:
        """A new log-in, unless another request was faster."""
        with self.renewing:
            if self.credential == used and self.log_in:
                self.credential = self.log_in()
            return self.credential

    def _ask(self, head: bytes, body: bytes, credential: Credential | None) -> bytes:
        added = [b"X-Forwarded-Proto: https", b"X-Forwarded-For: " + self.address.encode(), b"Connection: close"]
        if credential:
            added.append(": ".join(credential).encode())
        probing = not _ORIGIN.search(head)
        if probing:
            added.append(b"Origin: " + FOREIGN)
        sent = _CONNECTION.sub(b"", head)[:-2] + b"".join(line + b"\r\n" for line in added) + b"\r\n"
        with socket.create_connection(("127.0.0.1", self.upstream), SECONDS) as upstream:
            upstream.sendall(sent + body)
            answer = b"".join(iter(lambda: upstream.recv(65536), b""))
        allowed = _ALLOWED.search(answer.partition(b"\r\n\r\n")[0] + b"\r\n")
        if probing and allowed and allowed[1] in (FOREIGN, b"*"):
            method, target, *_ = [*head.decode("latin-1").split(" ", 2), ""]
            self.foreign_origins.add(f"{method} {target.partition('?')[0]}")
        return answer


class _Connection(socketserver.StreamRequestHandler):
    """One connection is one request: where the next one begins can never be in doubt."""

    server: Forwarder
    timeout = SECONDS

    def handle(self) -> None:
        try:
            head = self._head()
            length = _LENGTH.search(head)
            if head:
                self.wfile.write(self.server.answer(head, self.rfile.read(int(length[1]) if length else 0)))
        except OSError:
            return  # a peer that went away; what the service made of it is in its log

    def _head(self) -> bytes:
        """Up to the empty line; nothing when the peer went away before it."""
        lines = b""
        while len(lines) < LONGEST_HEAD:
            line = self.rfile.readline(LONGEST_HEAD)
            lines += line
            if line == b"\r\n":
                return lines
            if not line:
                break
        return b""
