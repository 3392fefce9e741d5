"""zizmor on the workflows, actions and hooks of this project, without a network.

    uv run python .github/security/audit_workflows.py

Comments and settings that silence zizmor do not count here: what cannot be ended is waived, with a name and a day.
"""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import PurePath
from typing import Any

from waivers import ROOT, Finding, conclude

NOTHING_HIDDEN = ("--no-config", "--no-ignores", "--strict-collection")


def audit() -> list[dict[str, Any]]:
    command = ["zizmor", "--quiet", "--offline", *NOTHING_HIDDEN, "--format", "json-v1", "."]
    try:
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    except FileNotFoundError:
        raise SystemExit("zizmor is not here; type: uv run python .github/security/audit_workflows.py") from None
    try:  # the exit code says how bad the worst finding is
        found: list[dict[str, Any]] = json.loads(done.stdout)
    except json.JSONDecodeError:
        raise SystemExit(f"zizmor failed: {done.stderr.partition('Stack backtrace')[0].strip()}") from None
    if done.returncode and not found:
        raise SystemExit(f"zizmor failed: {done.stderr.strip()}")
    return found


def judge(report: list[dict[str, Any]]) -> Iterator[Finding]:
    """Every finding of a report, at the place where zizmor says it is."""
    for result in report:
        place = result["locations"][0]
        name = PurePath(place["symbolic"]["key"]["Local"]["verbatim_path"]).as_posix()
        line = place["concrete"]["location"]["start_point"]["row"] + 1
        severity = result["determinations"]["severity"].lower()
        yield Finding(f"{result['ident']}:{name}", f"{name}:{line}: {severity}: {result['desc']}")


if __name__ == "__main__":
    sys.exit(conclude("zizmor", judge(audit())))
