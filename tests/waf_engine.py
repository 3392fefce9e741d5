"""ModSecurity in this process, with the rules that nginx gets."""

from pathlib import Path

from libmodsecurity import ModSecurity, RulesSet, Transaction

from tests.waf_requests import Sent

CRS_SETUP, CRS_RULES = Path("/etc/modsecurity/crs/crs-setup.conf"), Path("/usr/share/modsecurity-crs/rules")
UNICODE = Path("/etc/nginx/unicode.mapping")
WITHOUT_GEOIP = "REQUEST-910-IP-REPUTATION.conf"  # which the wheel cannot look up


def lay_out(folder: Path, waf: Path, setup: Path = CRS_SETUP, rules: Path = CRS_RULES) -> Path:
    """The folder /etc/modsecurity.d of the image, with a project's files and Debian's rules. Returns the main file."""
    (folder / "owasp-crs/rules").mkdir(parents=True)
    for path in waf.iterdir():
        (folder / path.name).symlink_to(path)
    (folder / "unicode.mapping").symlink_to(UNICODE)
    (folder / "owasp-crs/crs-setup.conf").symlink_to(setup)
    for path in rules.iterdir():
        (folder / "owasp-crs/rules" / path.name).symlink_to(path)
    return folder / "modsecurity.conf"


class Engine:
    def __init__(self, *rules: str) -> None:
        self.engine, self.rules = ModSecurity(), RulesSet()
        self.engine.set_log_callback(lambda _: None)
        for one in rules:
            loaded = self.rules.load_from_uri(one) if one.startswith("/") else self.rules.load(one)
            assert loaded >= 0, self.rules.get_parser_error()

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
