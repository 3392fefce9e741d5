"""What two scans by ZAP mean: its reports, and what the service itself says that it answered.

    uv run python .github/security/zap_judge.py zap-report

ZAP's report lists alerts and not what was reached, so that is counted in the access log of the service that was
scanned: one line a request, with the template of the route that answered, and with the address of the scan.
"""

import json
import re
import sys
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from waivers import Finding, conclude

RULES = Path(__file__).with_name("zap_rules.tsv")
ANONYMOUS, LOGGED_IN = "192.0.2.10", "192.0.2.20"  # who is scanning, as the service sees it (RFC 5737: nobody)
# Each scan, who it is, and with which statuses an operation counts as reached; 0 is a request without an answer.
SCANS = (
    ("anonymous", ANONYMOUS, range(1, 1000), "answered"),
    ("logged-in", LOGGED_IN, range(200, 300), "answered with a 2xx"),
)
ENOUGH = 90  # of a hundred operations
SERVER_ERROR = "100000-2"  # of one script in ZAP, whose other half reports every 4xx
ACTIONS = ("PASS", "IGNORE", "INFO", "WARN", "FAIL")  # those of ZAP

Operation = tuple[str, str]  # method and path


@dataclass(frozen=True)
class Rule:
    action: str
    reason: str


@dataclass(frozen=True)
class Request:
    """What the service says of one request."""

    operation: Operation
    status: int
    address: str


def read_rules(text: str) -> dict[str, Rule]:
    """What each rule of ZAP means here. Raises: SystemExit for a line without a reason."""
    found = {}
    for line in text.splitlines():
        if not line.strip() or line.startswith("#"):
            continue
        rule, action, _, reason = (*line.split("\t"), "", "", "")[:4]
        if action not in ACTIONS or not reason.strip():
            raise SystemExit(f"{RULES.name}: write id, action, (name) and reason, with tabs between: {line}")
        found[rule] = Rule(action, reason)
    return found


def read_access_log(lines: Iterable[str]) -> Iterator[Request]:
    for line in lines:
        fields = json.loads(line) if line.startswith("{") else {}
        if fields.get("event") == "request":
            path = re.sub(r"{(\w+):\w+}", r"{\1}", fields["route"] or "")
            yield Request((fields["method"], path), fields["status"], fields["client_ip"])


def operations(document: Mapping[str, Any]) -> dict[Operation, bool]:
    """Every operation of an OpenAPI document, and whether it asks who is calling."""
    methods = {"get", "put", "post", "delete", "options", "head", "patch", "trace"}
    return {
        (method.upper(), path): bool(operation.get("security"))
        for path, item in document["paths"].items()
        for method, operation in item.items()
        if method in methods
    }


def alerts(report: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    for site in report["site"]:
        yield from site["alerts"]


def judge_alerts(scan: str, report: Mapping[str, Any], rules: Mapping[str, Rule]) -> Iterator[Finding]:
    """What fails, also of the alerts that ZAP calls informational. Raises: SystemExit for a report without a site."""
    if not report["site"]:
        raise SystemExit(f"{scan}: ZAP reports no site, so it looked at nothing")
    for alert in alerts(report):
        rule, text = rules.get(alert["pluginid"]), _shown(scan, alert)
        if alert["alertRef"] == SERVER_ERROR or "Server Error" in alert["alert"]:
            yield Finding(SERVER_ERROR, text)
        elif rule is None:
            yield Finding(alert["pluginid"], f"{text}; {RULES.name} has no line for it")
        elif rule.action == "FAIL":
            yield Finding(alert["pluginid"], f"{text}; {rule.reason}")


def warnings(scan: str, report: Mapping[str, Any], rules: Mapping[str, Rule]) -> Iterator[str]:
    """What a person should look at, and does not fail."""
    for alert in alerts(report):
        rule = rules.get(alert["pluginid"])
        if rule is not None and rule.action == "WARN":
            yield f"warning: {_shown(scan, alert)}; {rule.reason}"


def _shown(scan: str, alert: Mapping[str, Any]) -> str:
    places = sorted({f"{place['method']} {place['uri']}" for place in alert["instances"]})
    more = f" and {len(places) - 3} more" if len(places) > 3 else ""
    return f"{scan}: {alert['alert']} at {', '.join(places[:3])}{more}"


def unreached(known: Collection[Operation], requests: Collection[Request]) -> Iterator[tuple[str, str, list[str]]]:
    """Of each scan, what reaches an operation, and which were not."""
    for scan, address, statuses, what in SCANS:
        reached = {one.operation for one in requests if one.address == address and one.status in statuses}
        yield scan, what, [" ".join(operation) for operation in sorted(set(known) - reached)]


def enough(known: Collection[Operation], missing: Collection[str]) -> bool:
    return bool(known) and 100 * (len(known) - len(missing)) >= ENOUGH * len(known)


def judge_reach(document: Mapping[str, Any], requests: Collection[Request]) -> Iterator[Finding]:
    """What was not scanned, where that is too much."""
    known = operations(document)
    for scan, what, missing in unreached(known, requests):
        if not enough(known, missing):
            text = f"{scan}: only {len(known) - len(missing)} of {len(known)} were {what}; not {', '.join(missing)}"
            yield Finding(f"reach-{scan}", text)


def gaps(document: Mapping[str, Any], requests: Collection[Request]) -> Iterator[str]:
    """What a person should know that was not scanned, or not to its end, and does not fail."""
    known = operations(document)
    for scan, what, missing in unreached(known, requests):
        if enough(known, missing):
            yield from (f"warning: {scan}: {name} was never {what}" for name in missing)
    for scan, address, *_ in SCANS:
        unanswered = {one.operation for one in requests if one.address == address and not one.status}
        for method, path in sorted(unanswered):
            yield f"warning: {scan}: {method} {path or '(no route)'} left a request without an answer"


def judge_answers(document: Mapping[str, Any], requests: Iterable[Request]) -> Iterator[Finding]:
    """Answers that no caller may get, whatever was sent."""
    known = operations(document)
    for (method, path), status, address in sorted({(one.operation, one.status, one.address) for one in requests}):
        name = f"{method} {path or '(no route)'}"
        if status // 100 == 5:
            yield Finding(f"5xx:{name}", f"{name} answered {status}")
        elif address == ANONYMOUS and status // 100 == 2 and known.get((method, path)):
            yield Finding(f"open:{name}", f"{name} answered {status} to a caller who did not say who they are")


def judge(folder: Path) -> list[Finding]:
    """What the files of one run say. Raises: OSError for a missing one, so that nothing passes unread."""
    rules = read_rules(RULES.read_text())
    document = json.loads((folder / "openapi.json").read_text())
    with (folder / "service.log").open() as log:
        requests = list(read_access_log(log))
    found = [*judge_reach(document, requests), *judge_answers(document, requests)]
    sys.stdout.writelines(f"{line}\n" for line in gaps(document, requests))
    for place in json.loads((folder / "foreign-origins.json").read_text()):
        found.append(Finding(f"foreign-origin:{place}", f"a page of any origin may read the answer of {place}"))
    for scan in ("anonymous", "logged-in"):
        report = json.loads((folder / f"{scan}.json").read_text())
        found += judge_alerts(scan, report, rules)
        sys.stdout.writelines(f"{line}\n" for line in warnings(scan, report, rules))
    return found


if __name__ == "__main__":
    if len(sys.argv) != 2:
        raise SystemExit(__doc__)
    raise SystemExit(conclude("zap", judge(Path(sys.argv[1]))))
