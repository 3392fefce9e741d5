#!/usr/bin/env python3
"""Wapiti in ZAP's place: the same options, document and report, and a real scanner behind them.

Wapiti chooses values by `default` alone, so every example of the document becomes one. It stays on this machine: left
out are the modules that look something up elsewhere (nikto, takeover, wapp, cms), that wait for an answer from another
machine (ssrf, xxe, log4shell), that guess names, and that attack what is not here (Java, LDAP, WordPress, TLS).
"""

import getopt
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

MODULES = (
    "cookieflags,crlf,csp,csrf,exec,file,htaccess,http_headers,methods,permanentxss,redirect,shellshock,sql,timesql,"
    "upload,xss"
)
EXPLORING, ATTACKING = 120, 20  # seconds at most: of all operations, and of each module
# What it reports, and why it is no fault.
EXPLAINED = {
    "Cross Site Request Forgery": "forms without a token of their own: no cookie authenticates, so none is needed"
}
TYPES: dict[type, str] = {bool: "boolean", int: "integer", float: "number", str: "string"}


def schema(value: Any) -> dict[str, Any]:
    """A schema of which Wapiti makes this value."""
    if isinstance(value, dict):
        return {"type": "object", "properties": {name: schema(item) for name, item in value.items()}}
    if isinstance(value, list):
        return {"type": "array", "items": schema(value[0]) if value else {}}
    return {"type": TYPES[type(value)], "default": value}


def with_defaults(document: dict[str, Any]) -> dict[str, Any]:
    for item in document["paths"].values():
        for operation in item.values():
            for parameter in operation.get("parameters", []):
                parameter["schema"] = schema(parameter["example"])
            for media_type, media in operation.get("requestBody", {}).get("content", {}).items():
                fields = media.get("schema", {}).get("properties", {})
                filled = {name: field["example"] for name, field in fields.items() if "example" in field}
                media["schema"] = schema(media["example"] if "json" in media_type else filled)
    return document


def alerts(report: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for kind in ("vulnerabilities", "anomalies"):
        for name, found in report[kind].items():
            places = [{"method": one["method"], "uri": one["path"], "evidence": one["info"]} for one in found]
            if name in EXPLAINED:
                sys.stdout.write(f"{len(places)} times {name}: {EXPLAINED[name]}\n")
            elif places:
                plugin = f"wapiti: {name}"
                yield {"pluginid": plugin, "alertRef": plugin, "alert": name, "instances": places}


def main() -> int:
    options, _ = getopt.getopt(sys.argv[1:], "t:f:c:J:z:")
    chosen = dict(options)
    document = with_defaults(json.loads(Path(chosen["-t"]).read_text()))
    Path("defaults.json").write_text(json.dumps(document))
    site = document["servers"][0]["url"]
    command = ["wapiti", "--url", f"{site}/", "--swagger", "defaults.json", "--module", MODULES, "--scope", "folder"]
    command += ["--max-scan-time", str(EXPLORING), "--max-attack-time", str(ATTACKING), "--level", "2"]
    command += ["--store-session", "session", "--store-config", "config", "--format", "json", "--output", "found.json"]
    command += ["--no-bugreport"]
    subprocess.run(command, check=True)
    found = json.loads(Path("found.json").read_text())
    Path(chosen["-J"]).write_text(json.dumps({"site": [{"@name": site, "alerts": list(alerts(found))}]}))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
