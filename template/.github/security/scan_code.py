"""Bandit on this project's own code.

    uv run python .github/security/scan_code.py

It fails on severity medium and high, on the rules of ALWAYS at any severity, on an unread file, and on a `# nosec`
without rule and reason: `# nosec B105  # the name of an event`. Bandit's own settings have no effect.
"""

import json
import os
import re
import sys
import tokenize
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from waivers import ROOT, Finding, conclude, run

TARGETS = ("app", "migrations")
BANDIT = (sys.executable, "-m", "bandit", "--quiet", "--ini", os.devnull, "--exit-zero", "--format", "json")
# Low severity in Bandit, but a fault in a service: a wildcard address, hard-coded secrets, TLS without verification,
# a shell, SQL built from text.
ALWAYS = {"B104", "B105", "B106", "B107", "B501", "B602", "B605", "B608"}
NOSEC = re.compile(r"#\s*nosec", re.IGNORECASE)  # also in "# nosecret", as Bandit reads it
EXPLAINED = re.compile(r"#\s*nosec:? (B\d{3}(?:, ?B\d{3})*)\s+#\s*\w+(?:\W+\w+)+")


def sources() -> dict[str, Path]:
    paths = [path for target in TARGETS for path in ROOT.joinpath(target).rglob("*.py")]
    return {path.relative_to(ROOT).as_posix(): path for path in sorted(paths)}


def judge(report: dict[str, Any]) -> Iterator[Finding]:
    """The findings that fail. Raises: SystemExit when Bandit did not read every file."""
    unread = [f"{error['filename']}: {error['reason']}" for error in report["errors"]]
    left_out = sorted(sources().keys() - {Path(name).as_posix() for name in report["metrics"]})
    if unread or left_out or not sources():
        raise SystemExit("\n".join(["bandit did not read every file", *unread, *left_out]))
    for result in report["results"]:
        if result["issue_severity"] in ("MEDIUM", "HIGH") or result["test_id"] in ALWAYS:
            name = Path(result["filename"]).as_posix()
            text = f"{name}:{result['line_number']}: {result['issue_severity'].lower()}: {result['issue_text']}"
            yield Finding(f"{result['test_id']}:{name}", text)


def unexplained_nosec() -> Iterator[Finding]:
    from bandit.core.extension_loader import MANAGER  # type: ignore[import-untyped]

    for name, path in sources().items():
        with path.open("rb") as file:
            comments = [token for token in tokenize.tokenize(file.readline) if token.type == tokenize.COMMENT]
        for comment in comments:
            explained = EXPLAINED.search(comment.string)
            # An unknown rule silences every rule.
            known = explained and all(MANAGER.check_id(rule) for rule in re.split(", ?", explained[1]))
            count = len(NOSEC.findall(comment.string))
            if count and not (count == 1 and known):
                yield Finding(f"nosec:{name}", f"{name}:{comment.start[0]}: # nosec without rule and reason")


if __name__ == "__main__":
    found = json.loads(run("bandit failed", *BANDIT, "--recursive", *TARGETS))
    sys.exit(conclude("bandit", [*judge(found), *unexplained_nosec()]))
