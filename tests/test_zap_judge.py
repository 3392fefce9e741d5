"""How a run of ZAP is judged: recorded runs, with the command that CI calls."""

from collections.abc import Callable
from typing import Any

import pytest

from tests import zap_reports
from tests.pipelines import waive
from tests.rendering import Project
from tests.test_waivers import in_days
from tests.zap_reports import AUTHENTICATED, OTHER, UNAUTHENTICATED, alert, report, request, usual

INJECTION = alert("40018", "SQL Injection", risk="3")
ORIGINS = alert("10098", "Cross-Domain Misconfiguration")
UNKNOWN = alert("99999", "A Rule of Next Year", risk="0")
# Rules that stay FAIL, whatever else changes in the list: the active ones, then the passive ones.
MUST_FAIL = {
    *(7, 20019, 30001, 30002, 30003, 40003, 40009, 40018, 40042, 40044),
    *(90017, 90019, 90020, 90021, 90023, 90025, 90034, 90035, 90036),
    *(10020, 10021, 10023, 10024, 10036, 10037, 10038, 10055, 10098, 10105, 90022),
}
MISSED = [("GET", "/users/me"), ("POST", "/notes")]
FOREIGN = '{"event": "foreign_origin", "place": "GET /users"}'

Judge = Callable[..., tuple[int, str]]


@pytest.fixture
def judged(project: Callable[..., Project]) -> Judge:
    service = project()

    def judge(
        lines: list[str] | None = None, *alerts: dict[str, Any], waiver: str = "", days: int = 30, without: str = ""
    ) -> tuple[int, str]:
        folder = service.file("recorded")
        zap_reports.write(folder, lines or usual(), report(*alerts))
        if waiver:
            waive(service, id=waiver, tool="zap", reason="Known.", owner="jane@example.com", expires=in_days(days))
        if without:
            (folder / without).unlink()
        done = service.run("python", ".github/security/zap_judge.py", str(folder))
        return done.returncode, done.stdout + done.stderr

    return judge


def without(client: str, *operations: tuple[str, str]) -> list[str]:
    """The usual run, which did not reach these."""
    starts = [f'"client_ip": "{client}", "method": "{method}", ' for method, _ in operations]
    routes = [f'"route": "{path}"' for _, path in operations]
    pairs = list(zip(starts, routes, strict=True))
    return [line for line in usual() if not any(start in line and route in line for start, route in pairs)]


def test_a_clean_run_passes(judged: Judge) -> None:
    assert judged() == (0, "zap: no findings without a waiver\n")


def test_an_alert_of_a_fail_rule_fails(judged: Judge) -> None:
    code, printed = judged(None, INJECTION)

    assert code == 1
    assert "authenticated: SQL Injection at GET http://127.0.0.1:40000/notes?limit=20" in printed


def test_an_alert_of_a_warn_rule_is_printed_and_passes(judged: Judge) -> None:
    code, printed = judged(None, alert("40008", "Parameter Tampering"))

    assert code == 0
    assert "warning: authenticated: Parameter Tampering" in printed


def test_an_alert_of_an_unknown_rule_fails(judged: Judge) -> None:
    code, printed = judged(None, UNKNOWN)

    assert code == 1
    assert "zap_rules.tsv has no line for it" in printed


def test_a_server_error_in_the_log_fails_for_every_client(judged: Judge) -> None:
    code, printed = judged([*usual(), request(OTHER, "POST", "/notes", 503)])

    assert code == 1
    assert "POST /notes answered 503" in printed


def test_a_server_error_that_only_zap_saw_fails(judged: Judge) -> None:
    assert judged(None, alert("100000", "A Server Error response code was returned", "100000-2", "1"))[0] == 1


def test_one_missed_operation_of_ten_is_a_warning(judged: Judge) -> None:
    code, printed = judged(without(AUTHENTICATED, MISSED[0]))

    assert code == 0
    assert "warning: authenticated: GET /users/me was not reached\n" in printed


@pytest.mark.parametrize(("client", "status"), [(AUTHENTICATED, 0), (AUTHENTICATED, 422), (UNAUTHENTICATED, 0)])
def test_two_missed_operations_of_ten_fail(judged: Judge, client: str, status: int) -> None:
    """A request without a response, or refused before its endpoint, did not reach it; nor did one of another client."""
    refused = [request(client, *operation, status) for operation in MISSED]
    others = [request(OTHER, *operation, 200) for operation in MISSED]

    code, printed = judged([*without(client, *MISSED), *refused, *others])

    assert code == 1
    assert "only 8 of 10 operations reached; not GET /users/me, POST /notes" in printed


def test_an_unauthenticated_success_on_a_guarded_operation_fails(judged: Judge) -> None:
    code, printed = judged([*usual(), request(UNAUTHENTICATED, "GET", "/users", 200)])

    assert code == 1
    assert "GET /users answered 200 unauthenticated" in printed


def test_a_response_that_any_page_may_read_fails(judged: Judge) -> None:
    code, printed = judged([*usual(), FOREIGN])

    assert code == 1
    assert "a page of any origin may read the response of GET /users" in printed


@pytest.mark.parametrize("finding", [INJECTION, UNKNOWN])
def test_a_waived_alert_passes(judged: Judge, finding: dict[str, Any]) -> None:
    code, printed = judged(None, finding, waiver=finding["pluginid"])

    assert code == 0
    assert "waived by jane@example.com until" in printed


def test_a_waiver_is_for_one_alert(judged: Judge) -> None:
    assert judged(None, INJECTION, ORIGINS, waiver="40018")[0] == 1


@pytest.mark.parametrize("kind", ["open", "5xx", "foreign-origin"])
def test_a_waiver_is_for_one_operation(judged: Judge, kind: str) -> None:
    status = 200 if kind == "open" else 500
    lines = [request(UNAUTHENTICATED, method, "/users", status) for method in ("GET", "POST")]
    if kind == "foreign-origin":
        lines = [FOREIGN, FOREIGN.replace("GET", "POST")]

    code, printed = judged([*usual(), *lines], waiver=f"{kind}:GET /users")

    assert code == 1
    assert f"[{kind}:POST /users]\n" in printed
    assert f"[{kind}:GET /users]  (waived by" in printed


def test_an_expired_waiver_fails_without_a_finding(judged: Judge) -> None:
    code, printed = judged(waiver="40018", days=-1)

    assert code == 1
    assert "expired" in printed


@pytest.mark.parametrize("name", ["service.log", "unauthenticated.json", "authenticated.json", "openapi.json"])
def test_a_run_without_one_of_its_files_fails(judged: Judge, name: str) -> None:
    assert judged(without=name)[0] == 1


def test_a_report_about_no_site_fails(project: Callable[..., Project]) -> None:
    service = project()
    zap_reports.write(service.file("recorded"), usual(), report() | {"site": []})

    done = service.run("python", ".github/security/zap_judge.py", "recorded")

    assert done.returncode == 1
    assert "scanned nothing" in done.stderr


def test_every_rule_has_a_reason_and_dangerous_ones_fail(project: Callable[..., Project]) -> None:
    lines = project().read(".github/security/zap_rules.tsv").splitlines()
    rules = [line.split("\t") for line in lines if not line.startswith("#")]

    assert [rule for rule in rules if len(rule) != 4 or not all(map(str.strip, rule))] == []
    assert {rule[1] for rule in rules} <= {"FAIL", "WARN", "INFO", "IGNORE"}
    assert len({rule[0] for rule in rules}) == len(rules)
    assert MUST_FAIL - {int(rule) for rule, action, *_ in rules if action == "FAIL"} == set()
