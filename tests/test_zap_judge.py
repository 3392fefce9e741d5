"""What a run of ZAP is judged by: recorded runs, through the command that CI calls."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests import zap_reports
from tests.rendering import Project
from tests.zap_reports import ANONYMOUS, LOGGED_IN, SEEDING, alert, report, request, usual

INJECTION = alert("40018", "SQL Injection", risk="3")
ORIGINS = alert("10098", "Cross-Domain Misconfiguration")
# What must never be there, whatever else is changed in the list: the active rules, then the passive ones.
MUST_FAIL = {
    *(7, 20019, 30001, 30002, 30003, 40003, 40009, 40018, 40042, 40044),
    *(90017, 90019, 90020, 90021, 90023, 90025, 90034, 90035, 90036),
    *(10020, 10021, 10023, 10024, 10036, 10037, 10038, 10055, 10098, 10105, 90022),
}

Judge = Callable[..., tuple[int, str]]


@pytest.fixture
def judged(project: Callable[..., Project]) -> Judge:
    service = project()

    def judge(
        lines: list[str] | None = None,
        logged_in: dict[str, Any] | None = None,
        waiver: str = "",
        foreign: tuple[str, ...] = (),
        without: str = "",
    ) -> tuple[int, str]:
        folder = service.file("recorded")
        zap_reports.write(folder, usual() if lines is None else lines, logged_in or report(), list(foreign))
        service.append(".github/waivers.toml", waiver)
        if without:
            (folder / without).unlink()
        done = service.run("python", ".github/security/zap_judge.py", str(folder))
        return done.returncode, done.stdout + done.stderr

    return judge


def waiver(rule: str, days: int) -> str:
    last = datetime.now(UTC).date() + timedelta(days=days)
    words = f'id = "{rule}"\ntool = "zap"\nreason = "Known."\nowner = "jane@example.com"\nexpires = {last}\n'
    return f"\n[[waiver]]\n{words}"


def without(address: str, *operations: tuple[str, str]) -> list[str]:
    """The usual run, in which these were not reached."""
    hidden = [f'"client_ip": "{address}", "method": "{method}", ' for method, _ in operations]
    routes = [f'"route": "{path}"' for _, path in operations]
    pairs = list(zip(hidden, routes, strict=True))
    return [line for line in usual() if not any(start in line and route in line for start, route in pairs)]


def test_a_clean_run_passes(judged: Judge) -> None:
    code, printed = judged()

    assert (code, printed) == (0, "zap: no findings without a waiver\n")


def test_an_alert_that_the_rules_call_fail_fails(judged: Judge) -> None:
    code, printed = judged(logged_in=report(INJECTION))

    assert code == 1
    assert "logged-in: SQL Injection at GET http://127.0.0.1:40000/notes?limit=20" in printed


def test_an_alert_that_the_rules_call_warn_is_shown_and_passes(judged: Judge) -> None:
    code, printed = judged(logged_in=report(alert("40008", "Parameter Tampering")))

    assert code == 0
    assert "warning: logged-in: Parameter Tampering" in printed


@pytest.mark.parametrize("risk", ["0", "2"])
def test_an_alert_that_no_rule_knows_fails_however_small(judged: Judge, risk: str) -> None:
    code, printed = judged(logged_in=report(alert("99999", "A Rule of Next Year", risk=risk)))

    assert code == 1
    assert "zap_rules.tsv has no line for it" in printed


@pytest.mark.parametrize("status", [500, 503])
def test_a_server_error_in_the_log_fails_whoever_met_it(judged: Judge, status: int) -> None:
    code, printed = judged([*usual(), request(SEEDING, "POST", "/notes", status)])

    assert code == 1
    assert f"POST /notes answered {status}" in printed


def test_a_server_error_that_only_zap_saw_fails_though_its_rule_is_ignored(judged: Judge) -> None:
    seen = alert("100000", "A Server Error response code was returned by the server", "100000-2", "1")

    code, printed = judged(logged_in=report(seen))

    assert code == 1
    assert "A Server Error response code" in printed


def test_one_operation_of_ten_may_be_missed_and_is_named(judged: Judge) -> None:
    code, printed = judged(without(LOGGED_IN, ("GET", "/users/me")))

    assert code == 0
    assert "warning: logged-in: GET /users/me was never answered with a 2xx\n" in printed


@pytest.mark.parametrize("address", [ANONYMOUS, LOGGED_IN])
def test_what_was_never_answered_is_not_reached(judged: Judge, address: str) -> None:
    missed = [("GET", "/users/me"), ("POST", "/notes")]
    unanswered = [request(address, method, path, 0) for method, path in missed]

    code, printed = judged([*without(address, *missed), *unanswered])

    assert code == 1
    assert "only 8 of 10" in printed


@pytest.mark.parametrize("address", [ANONYMOUS, LOGGED_IN])
def test_a_request_without_an_answer_is_named_whatever_the_others_got(judged: Judge, address: str) -> None:
    code, printed = judged([*usual(), request(address, "GET", "/notes", 0), request(SEEDING, "GET", "/users", 0)])

    scan = "anonymous" if address == ANONYMOUS else "logged-in"
    assert code == 0
    assert printed.splitlines()[:-1] == [f"warning: {scan}: GET /notes left a request without an answer"]


@pytest.mark.parametrize("address", [ANONYMOUS, LOGGED_IN])
def test_two_operations_of_ten_may_not(judged: Judge, address: str) -> None:
    code, printed = judged(without(address, ("GET", "/users/me"), ("POST", "/notes")))

    assert code == 1
    assert "only 8 of 10" in printed
    assert "GET /users/me, POST /notes" in printed


def test_what_the_scan_made_for_itself_does_not_count_as_reached(judged: Judge) -> None:
    missed = [("GET", "/users/me"), ("POST", "/notes")]
    own = [request(SEEDING, method, path, 200) for method, path in missed]

    assert judged([*without(LOGGED_IN, *missed), *own])[0] == 1


def test_a_refusal_does_not_count_as_reached(judged: Judge) -> None:
    missed = [("GET", "/users/me"), ("POST", "/notes")]
    refused = [request(LOGGED_IN, method, path, 422) for method, path in missed]

    assert judged([*without(LOGGED_IN, *missed), *refused])[0] == 1


def test_an_answer_to_nobody_where_a_caller_is_asked_for_fails(judged: Judge) -> None:
    code, printed = judged([*usual(), request(ANONYMOUS, "GET", "/users", 200)])

    assert code == 1
    assert "GET /users answered 200 to a caller who did not say who they are" in printed


def test_an_answer_that_any_page_may_read_fails(judged: Judge) -> None:
    code, printed = judged(foreign=("GET /notes",))

    assert code == 1
    assert "a page of any origin may read the answer of GET /notes" in printed


@pytest.mark.parametrize("finding", [INJECTION, alert("99999", "A Rule of Next Year")])
def test_a_waived_alert_passes_until_its_day(judged: Judge, finding: dict[str, Any]) -> None:
    code, printed = judged(logged_in=report(finding), waiver=waiver(finding["pluginid"], days=30))

    assert code == 0
    assert "waived by jane@example.com until" in printed


def test_a_waiver_is_of_one_alert(judged: Judge) -> None:
    assert judged(logged_in=report(INJECTION, ORIGINS), waiver=waiver("40018", days=30))[0] == 1


@pytest.mark.parametrize("kind", ["open", "5xx", "foreign-origin"])
def test_a_waiver_is_of_one_operation(judged: Judge, kind: str) -> None:
    status = 200 if kind == "open" else 500
    found = {"lines": [*usual(), *(request(ANONYMOUS, method, "/users", status) for method in ("GET", "POST"))]}
    if kind == "foreign-origin":
        found = {"foreign": ("GET /users", "POST /users")}

    code, printed = judged(**found, waiver=waiver(f"{kind}:GET /users", days=30))  # type: ignore[arg-type]

    assert code == 1
    assert f"[{kind}:POST /users]\n" in printed
    assert f"[{kind}:GET /users]  (waived by" in printed


def test_an_expired_waiver_fails_also_where_nothing_was_found(judged: Judge) -> None:
    code, printed = judged(waiver=waiver("40018", days=-1))

    assert code == 1
    assert "expired" in printed


@pytest.mark.parametrize("name", ["service.log", "anonymous.json", "logged-in.json", "foreign-origins.json"])
def test_a_run_that_left_something_out_fails(judged: Judge, name: str) -> None:
    assert judged(without=name)[0] == 1


def test_a_report_of_no_site_fails(judged: Judge) -> None:
    code, printed = judged(logged_in=report() | {"site": []})

    assert code == 1
    assert "looked at nothing" in printed


def rules(project: Project) -> list[list[str]]:
    lines = project.read(".github/security/zap_rules.tsv").splitlines()
    return [line.split("\t") for line in lines if not line.startswith("#")]


def test_every_rule_has_a_name_and_a_reason(project: Callable[..., Project]) -> None:
    found = rules(project())

    assert [rule for rule in found if len(rule) != 4 or not all(map(str.strip, rule))] == []
    assert {rule[1] for rule in found} <= {"FAIL", "WARN", "INFO", "IGNORE"}
    assert len({rule[0] for rule in found}) == len(found)


def test_what_must_never_be_there_fails(project: Callable[..., Project]) -> None:
    failing = {int(rule) for rule, action, *_ in rules(project()) if action == "FAIL"}

    assert MUST_FAIL - failing == set()


def test_a_rule_without_a_reason_stops_the_judge(project: Callable[..., Project]) -> None:
    service = project()
    service.append(".github/security/zap_rules.tsv", "99999\tIGNORE\t(A Rule of Next Year)\t\n")
    zap_reports.write(service.file("recorded"), usual(), report(), [])

    done = service.run("python", ".github/security/zap_judge.py", "recorded")

    assert done.returncode == 1
    assert "reason" in done.stderr
