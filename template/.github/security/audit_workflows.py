"""zizmor on the workflows, actions and hooks of this project, without a network.

    uv run python .github/security/audit_workflows.py

Comments and settings that silence zizmor have no effect here: use a waiver, which names an owner and a date.
"""

import json
import sys
from collections.abc import Iterator
from pathlib import PurePath
from typing import Any

from waivers import Finding, conclude, run

COMMAND = ("zizmor", "--quiet", "--offline", "--no-config", "--no-ignores", "--strict-collection")
REPORT = ("--no-exit-codes", "--format", "json-v1", ".")


def judge(report: list[dict[str, Any]]) -> Iterator[Finding]:
    for result in report:
        place = result["locations"][0]
        name = PurePath(place["symbolic"]["key"]["Local"]["verbatim_path"]).as_posix()
        line = place["concrete"]["location"]["start_point"]["row"] + 1
        severity = result["determinations"]["severity"].lower()
        yield Finding(f"{result['ident']}:{name}", f"{name}:{line}: {severity}: {result['desc']}")


if __name__ == "__main__":
    sys.exit(conclude("zizmor", judge(json.loads(run("zizmor failed", *COMMAND, *REPORT)))))
