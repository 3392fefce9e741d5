"""ModSecurity in this process, with the rules that nginx gets."""

from pathlib import Path
from typing import NamedTuple

from libmodsecurity import ModSecurity, RulesSet, Transaction

from tests.waf_requests import Sent

UNICODE = Path("/etc/nginx/unicode.mapping")
NEEDS_GEOIP = "REQUEST-910-IP-REPUTATION.conf"  # which the wheel cannot look up


class Crs(NamedTuple):
    """The Core Rule Set on this machine."""

    setup: Path
    rules: Path


DEBIAN = Crs(Path("/etc/modsecurity/crs/crs-setup.conf"), Path("/usr/share/modsecurity-crs/rules"))


def lay_out(folder: Path, waf: Path, crs: Crs = DEBIAN) -> Path:
    """The folder /etc/modsecurity.d of the image, with a project's files and these rules. Returns the main file."""
    (folder / "owasp-crs/rules").mkdir(parents=True)
    (folder / "unicode.mapping").symlink_to(UNICODE)
    (folder / "owasp-crs/crs-setup.conf").symlink_to(crs.setup)
    for path in [*waf.iterdir(), *crs.rules.iterdir()]:
        (folder / ("owasp-crs/rules" if path.parent == crs.rules else "") / path.name).symlink_to(path.resolve())
    return folder / "modsecurity.conf"


class Engine:
    def __init__(self, main: Path) -> None:
        (main.parent / "owasp-crs/rules" / NEEDS_GEOIP).unlink(missing_ok=True)
        self.engine, self.rules = ModSecurity(), RulesSet()
        self.engine.set_log_callback(lambda _: None)
        assert self.rules.load_from_uri(str(main)) >= 0, self.rules.get_parser_error()

    def status(self, sent: Sent) -> int:
        """The status with which this request is refused, or 0. As nginx does it, each phase once."""
        transaction = Transaction(self.engine, self.rules)
        transaction.process_connection("203.0.113.7", 50000, "127.0.0.1", 443)
        transaction.process_uri(sent.target, sent.method, "1.1")
        for name, value in sent.all_headers().items():
            transaction.add_request_header(name, value)
        transaction.process_request_headers()
        if (stop := transaction.intervention()) and stop.disruptive:
            return stop.status
        if sent.body:
            transaction.append_request_body(sent.body)
        transaction.process_request_body()
        stop = transaction.intervention()
        return stop.status if stop and stop.disruptive else 0
