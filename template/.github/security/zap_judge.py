"""Judges both scans by ZAP: its reports, and the service's log of them.

    uv run python .github/security/zap_judge.py zap-report

ZAP reports alerts, not what it reached: the access log has one line for each request, with the route that responded
and the address of the scan.
"""

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from waivers import Finding, conclude

RULES = Path(__file__).with_name("zap_rules.tsv")
CLIENTS = {"authenticated": "192.0.2.20", "unauthenticated": "192.0.2.10"}  # RFC 5737
ENOUGH = 90  # per cent of the operations
SERVER_ERROR = "100000-2"  # of one rule, whose other half reports every 4xx
BEFORE_THE_ENDPOINT = {0, 401, 405, 413, 415, 422, 429}


class Request(NamedTuple):
    operation: str  # method and path
    status: int
    client: str


def read_log(file: Path) -> tuple[set[Request], set[str]]:
    """The requests of the access log, and the operations whose responses a page of any origin may read."""
    requests, foreign = set[Request](), set[str]()
    for line in file.read_text().splitlines():
        fields = json.loads(line) if line.startswith("{") else {}
        if fields.get("event") == "request":
            path = re.sub(r"{(\w+):\w+}", r"{\1}", fields["route"] or "(no route)")
            requests.add(Request(f"{fields['method']} {path}", fields["status"], fields["client_ip"]))
        elif fields.get("event") == "foreign_origin":
            foreign.add(fields["place"])
    return requests, foreign


def judge_alerts(scan: str, report: dict[str, Any]) -> Iterator[Finding]:
    """The alerts that fail, also informational ones. Raises: SystemExit for a report about no site."""
    if not report["site"]:
        raise SystemExit(f"{scan}: ZAP reports no site, so it scanned nothing")
    lines = [line.split("\t") for line in RULES.read_text().splitlines() if line and not line.startswith("#")]
    rules = {rule: (action, reason) for rule, action, _, reason in lines}
    for alert in (alert for site in report["site"] for alert in site["alerts"]):
        places = sorted({f"{place['method']} {place['uri']}" for place in alert["instances"]})
        more = f" and {len(places) - 3} more" if len(places) > 3 else ""
        text = f"{scan}: {alert['alert']} at {', '.join(places[:3])}{more}"
        action, reason = rules.get(alert["pluginid"], ("FAIL", f"{RULES.name} has no line for it"))
        if alert["alertRef"] == SERVER_ERROR or "Server Error" in alert["alert"]:
            yield Finding(SERVER_ERROR, text)
        elif action == "FAIL":
            yield Finding(alert["pluginid"], f"{text}; {reason}")
        elif action == "WARN":
            sys.stdout.write(f"warning: {text}; {reason}\n")


def judge_reach(known: set[str], requests: set[Request]) -> Iterator[Finding]:
    """Operations that no request reached: one in ten is a warning, more is a finding."""
    for scan, client in CLIENTS.items():
        before = BEFORE_THE_ENDPOINT if scan == "authenticated" else {0}  # 0: no response
        reached = {one.operation for one in requests if one.client == client and one.status not in before}
        missing = sorted(known - reached)
        if 100 * len(known & reached) < ENOUGH * len(known) or not known:
            text = f"{scan}: only {len(known & reached)} of {len(known)} operations reached; not {', '.join(missing)}"
            yield Finding(f"reach-{scan}", text)
        else:
            sys.stdout.writelines(f"warning: {scan}: {name} was not reached\n" for name in missing)


def judge_responses(guarded: set[str], requests: set[Request]) -> Iterator[Finding]:
    """Server errors, and successes without authentication."""
    for request in sorted(requests):
        if request.status // 100 == 5:
            yield Finding(f"5xx:{request.operation}", f"{request.operation} answered {request.status}")
        open_to_all = request.client == CLIENTS["unauthenticated"] and request.operation in guarded
        if open_to_all and request.status // 100 == 2:
            text = f"{request.operation} answered {request.status} unauthenticated"
            yield Finding(f"open:{request.operation}", text)


def judge(folder: Path) -> list[Finding]:
    """The findings of one run. Raises: OSError for a missing file."""
    paths = json.loads((folder / "openapi.json").read_text())["paths"]
    operations = {
        f"{method.upper()} {path}": operation for path, item in paths.items() for method, operation in item.items()
    }
    guarded = {name for name, operation in operations.items() if operation.get("security")}
    requests, foreign = read_log(folder / "service.log")
    found = [*judge_reach(set(operations), requests), *judge_responses(guarded, requests)]
    for place in sorted(foreign):
        found.append(Finding(f"foreign-origin:{place}", f"a page of any origin may read the response of {place}"))
    for scan in CLIENTS:
        found += judge_alerts(scan, json.loads((folder / f"{scan}.json").read_text()))
    return list(dict.fromkeys(found))


if __name__ == "__main__":
    if len(sys.argv) != 2:
        raise SystemExit(__doc__)
    raise SystemExit(conclude("zap", judge(Path(sys.argv[1]))))
