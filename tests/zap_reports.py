"""The files of one run of ZAP, as recorded: its report (traditional-json) and the service's log."""

import json
from pathlib import Path
from typing import Any

SITE = "http://127.0.0.1:40000"
UNAUTHENTICATED, AUTHENTICATED, OTHER = "192.0.2.10", "192.0.2.20", "192.0.2.1"
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
    """A line of the access log."""
    fields = {"event": "request", "actor": "anonymous", "client_ip": address, "method": method, "milliseconds": 1.5}
    return json.dumps(fields | {"request_id": "0" * 32, "route": route, "status": status})


def usual() -> list[str]:
    """Both scans reached everything, and got the right responses."""
    lines = ['{"event":"sys_startup","outcome":"success"}', "a line of something else"]
    for method, path in OPERATIONS:
        guarded = "security" in PATHS[path][method.lower()]
        lines += [request(UNAUTHENTICATED, method, path, 401 if guarded else 200)]
        lines += [request(AUTHENTICATED, method, path, 200), request(AUTHENTICATED, method, path, 422)]
    return [*lines, request(UNAUTHENTICATED, "GET", None, 404)]


def write(folder: Path, lines: list[str], authenticated: dict[str, Any]) -> None:
    folder.mkdir()
    (folder / "openapi.json").write_text(json.dumps({"openapi": "3.1.0", "paths": PATHS}))
    (folder / "service.log").write_text("\n".join(lines) + "\n")
    (folder / "unauthenticated.json").write_text(json.dumps(report()))
    (folder / "authenticated.json").write_text(json.dumps(authenticated))
