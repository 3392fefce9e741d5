"""What one run of ZAP leaves, as recorded: the report has the shape of ZAP's own (traditional-json), the log ours."""

import json
from pathlib import Path
from typing import Any

SITE = "http://127.0.0.1:40000"
ANONYMOUS, LOGGED_IN, SEEDING = "192.0.2.10", "192.0.2.20", "192.0.2.1"
GUARDED = [{"bearer": []}]
PATHS: dict[str, Any] = {
    "/notes": {"get": {"security": GUARDED}, "post": {"security": GUARDED}},
    "/notes/{note_id}": {
        "get": {"security": GUARDED, "parameters": [{"name": "note_id", "in": "path"}]},
        "patch": {"security": GUARDED},
        "delete": {"security": GUARDED},
    },
    "/users": {"get": {"security": GUARDED}, "post": {"security": GUARDED}},
    "/users/me": {"get": {"security": GUARDED}},
    "/health/live": {"get": {}},
    "/health/ready": {"get": {}},
}
OPERATIONS = [(method.upper(), path) for path, item in PATHS.items() for method in item]


def alert(plugin: str, name: str, reference: str = "", risk: str = "2") -> dict[str, Any]:
    """As in the sample of the help page of ZAP's reports."""
    place = {
        "id": "3",
        "uri": f"{SITE}/notes?limit=20",
        "nodeName": f"{SITE}/notes (limit)",
        "method": "GET",
        "param": "limit",
        "attack": "",
        "evidence": "",
        "otherinfo": "",
    }
    return {
        "pluginid": plugin,
        "alertRef": reference or plugin,
        "alert": name,
        "name": name,
        "riskcode": risk,
        "confidence": "2",
        "riskdesc": "Medium (Medium)",
        "desc": "<p>…</p>",
        "instances": [place],
        "count": "1",
        "systemic": False,
        "solution": "<p>…</p>",
        "otherinfo": "",
        "reference": "",
        "cweid": "79",
        "wascid": "8",
        "sourceid": "36977",
    }


REFUSALS = alert("100000", "A Client Error response code was returned by the server", "100000-1", "0")


def report(*alerts: dict[str, Any]) -> dict[str, Any]:
    site = {"@name": SITE, "@host": "127.0.0.1", "@port": "40000", "@ssl": "false", "alerts": [REFUSALS, *alerts]}
    return {
        "@programName": "ZAP",
        "@version": "2.17.0",
        "@generated": "Wed, 25 Nov 2026 13:00:00",
        "created": "2026-11-25T13:00:00.000000000Z",
        "insights": [{"level": "Info", "key": "insight.code.2xx", "site": SITE, "statistic": "12"}],
        "site": [site],
    }


def request(address: str, method: str, route: str | None, status: int) -> str:
    """A line of the access log, which lies among others."""
    fields = {"event": "request", "actor": "anonymous", "client_ip": address, "method": method, "milliseconds": 1.5}
    return json.dumps(fields | {"request_id": "0" * 32, "route": route, "status": status})


def usual() -> list[str]:
    """Everything was asked by both, and answered as it should be."""
    lines = ['{"event":"sys_startup","outcome":"success"}', "a line of something else"]
    for method, path in OPERATIONS:
        guarded = "security" in PATHS[path][method.lower()]
        lines += [request(ANONYMOUS, method, path, 401 if guarded else 200), request(LOGGED_IN, method, path, 200)]
        lines.append(request(LOGGED_IN, method, path, 422))
    return [*lines, request(ANONYMOUS, "GET", None, 404)]


def write(folder: Path, lines: list[str], logged_in: dict[str, Any], foreign: list[str]) -> None:
    folder.mkdir()
    (folder / "openapi.json").write_text(json.dumps({"openapi": "3.1.0", "paths": PATHS}))
    (folder / "service.log").write_text("\n".join(lines) + "\n")
    (folder / "anonymous.json").write_text(json.dumps(report()))
    (folder / "logged-in.json").write_text(json.dumps(logged_in))
    (folder / "foreign-origins.json").write_text(json.dumps(foreign))
