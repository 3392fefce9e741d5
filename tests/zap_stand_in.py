#!/usr/bin/env python3
"""Stands in for ZAP's packaged API scan: its options, its way to make requests of a document, its report, some rules.

How values are chosen is read from zap-extensions: openapi/generators/{DataGenerator,BodyGenerator}.java (a default
before an example, and what has neither is "John Doe"), formhandler/FormHandlerParam.java (fields of a form that ZAP
fills in its own way); the report from reports/traditional-json/report.json.
"""

import getopt
import http.client
import json
import re
import sys
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

MADE_UP = {"integer": "10", "number": "1.2", "boolean": "true"}
FORM_HANDLER = {
    "color": "#ffffff",
    "email": "zaproxy@example.com",
    "name": "ZAP",
    "password": "ZAP",
    "phone": "9999999999",
    "url": "https://zap.example.com",
}
ERROR_TEXT = re.compile(r"Traceback \(most recent call last\)|File \"[^\"]+\", line \d+|(?:Error|Exception): ")

Alert = tuple[str, str, str, str]  # plugin id, reference, name, risk


def parameter(one: dict[str, Any]) -> str:
    schema = one.get("schema", {})
    for value in (schema.get("default"), *schema.get("enum", [])[:1], one.get("example"), schema.get("example")):
        if value not in (None, ""):
            return quote(str(value), safe=":,@")
    return MADE_UP.get(schema.get("type", ""), one["name"])


def path(template: str, parameters: list[dict[str, Any]]) -> str:
    query = []
    for one in parameters:
        if one["in"] == "query":
            query.append(f"{one['name']}={parameter(one)}")
        else:
            template = template.replace(f"{{{one['name']}}}", parameter(one))
    return template + ("?" + "&".join(query) if query else "")


def body(content: dict[str, Any]) -> tuple[str, str | None]:
    if "application/json" in content:
        return json.dumps(content["application/json"].get("example", {"John Doe": "John Doe"})), "application/json"
    if "application/x-www-form-urlencoded" in content:
        fields = content["application/x-www-form-urlencoded"]["schema"]["properties"]
        filled = {name: FORM_HANDLER.get(name, str(field.get("example", name))) for name, field in fields.items()}
        return urlencode(filled), "application/x-www-form-urlencoded"
    return "", None


class Scan:
    def __init__(self, document: dict[str, Any]) -> None:
        self.document = document
        self.site = document["servers"][0]["url"]
        self.found: dict[Alert, list[dict[str, str]]] = {}

    def ask(self, method: str, target: str, sent: str, headers: dict[str, str]) -> http.client.HTTPResponse:
        connection = http.client.HTTPConnection(urlsplit(self.site).netloc, timeout=60)
        connection.request(method, target, sent, headers)
        answer = connection.getresponse()
        self.look(method, target, answer, answer.read().decode("utf-8", "replace"))
        connection.close()
        return answer

    def look(self, method: str, target: str, answer: http.client.HTTPResponse, text: str) -> None:
        """The passive rules."""
        if answer.status >= 500:
            name = "A Server Error response code was returned by the server"
            self.alert(("100000", "100000-2", name, "1"), method, target)
        elif answer.status >= 400:
            name = "A Client Error response code was returned by the server"
            self.alert(("100000", "100000-1", name, "0"), method, target)
        if text and answer.getheader("X-Content-Type-Options") != "nosniff":
            self.alert(("10021", "10021", "X-Content-Type-Options Header Missing", "1"), method, target)
        if answer.getheader("Access-Control-Allow-Origin") == "*":
            self.alert(("10098", "10098", "Cross-Domain Misconfiguration", "2"), method, target)
        if ERROR_TEXT.search(text):
            self.alert(("90022", "90022", "Application Error Disclosure", "2"), method, target)
        if "--unknown-rule" in target:
            self.alert(("99999", "99999", "A Rule of Next Year", "2"), method, target)

    def alert(self, alert: Alert, method: str, target: str) -> None:
        place = {"uri": self.site + target, "nodeName": target, "method": method, "param": "", "attack": ""}
        self.found.setdefault(alert, []).append(place | {"evidence": "", "otherinfo": ""})

    def run(self) -> None:
        requests = []
        for template, item in self.document["paths"].items():
            for method, operation in item.items():
                sent, media_type = body(operation.get("requestBody", {}).get("content", {}))
                target = path(template, operation.get("parameters", []))
                requests.append((method.upper(), target, sent, {"Content-Type": media_type} if media_type else {}))
        for request in requests:  # as ZAP's import does
            self.ask(*request)
        for method, target, sent, headers in requests:  # and some of its attacks
            self.ask(method, f"{target}{'&' if '?' in target else '?'}zap=%3Cscript%3E", sent, headers)
            self.ask(method, target, sent[: len(sent) // 2], headers)

    def report(self) -> dict[str, Any]:
        address = urlsplit(self.site)
        alerts = [
            {
                "pluginid": plugin,
                "alertRef": reference,
                "alert": name,
                "name": name,
                "riskcode": risk,
                "confidence": "2",
                "riskdesc": "",
                "desc": "",
                "instances": places[:10],
                "count": str(len(places)),
                "systemic": False,
                "solution": "",
                "otherinfo": "",
                "reference": "",
                "cweid": "0",
                "wascid": "0",
                "sourceid": "1",
            }
            for (plugin, reference, name, risk), places in self.found.items()
        ]
        site = {"@name": self.site, "@host": address.hostname, "@port": str(address.port), "@ssl": "false"}
        return {"@programName": "ZAP", "@version": "2.17.0", "insights": [], "site": [site | {"alerts": alerts}]}


def main() -> int:
    options, _ = getopt.getopt(sys.argv[1:], "t:f:c:J:z:")  # as ZAP reads them
    chosen = dict(options)
    assert chosen["-f"] == "openapi"
    rules = [line.split("\t") for line in Path(chosen["-c"]).read_text().splitlines() if line and line[0] != "#"]
    assert all(len(rule) == 4 for rule in rules), "zap_common.load_config reads id, action, (name) and a message"
    scan = Scan(json.loads(Path(chosen["-t"]).read_text()))
    scan.run()
    Path(chosen["-J"]).write_text(json.dumps(scan.report()))
    failing = {rule[0] for rule in rules if rule[1] == "FAIL"}
    return 1 if any(alert[0] in failing for alert in scan.found) else 2


if __name__ == "__main__":
    raise SystemExit(main())
