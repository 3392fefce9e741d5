"""zizmor on the workflows, actions and hooks of this project, without a network.

    uv run python .github/security/audit_workflows.py

Comments and settings that silence zizmor have no effect here: use a waiver, which names an owner and a date.
"""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import PurePath
from typing import Any

from waivers import ROOT, Finding, conclude

COMMAND = ("zizmor", "--quiet", "--offline", "--no-config", "--no-ignores", "--strict-collection")


def audit() -> list[dict[str, Any]]:
    done = subprocess.run([*COMMAND, "--format", "json-v1", "."], cwd=ROOT, capture_output=True, text=True)
    try:
        found: list[dict[str, Any]] = json.loads(done.stdout)
    except json.JSONDecodeError:
        raise SystemExit(f"zizmor failed: {done.stderr.partition('Stack backtrace')[0].strip()}") from None
    if done.returncode and not found:  # with findings, the exit code is the severity of the worst
        raise SystemExit(f"zizmor failed: {done.stderr.strip()}")
    return found


def judge(report: list[dict[str, Any]]) -> Iterator[Finding]:
    for result in report:
        place = result["locations"][0]
        name = PurePath(place["symbolic"]["key"]["Local"]["verbatim_path"]).as_posix()
        line = place["concrete"]["location"]["start_point"]["row"] + 1
        severity = result["determinations"]["severity"].lower()
        yield Finding(f"{result['ident']}:{name}", f"{name}:{line}: {severity}: {result['desc']}")


if __name__ == "__main__":
    sys.exit(conclude("zizmor", judge(audit())))
