"""Bandit on this project's own code.

    uv run python .github/security/scan_code.py                      # says what it found; exit code 1 if anything
    uv run python .github/security/scan_code.py --sarif bandit.sarif # and writes all of it, for GitHub's code scanning

It fails on severity medium and high, on the rules of ALWAYS whatever their severity, on a file that Bandit left out,
and on a `# nosec` that does not say which rule it silences and why: `# nosec B105  # the name of an event`. No settings
of Bandit count: a rule that is skipped there is seen by nobody, and "tests" among excluded folders hides contests.py.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import tokenize
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from waivers import ROOT, Finding, conclude

TARGETS = ("app", "migrations")
# Bandit calls these low where the value is a constant; a hard-coded key or a shell is no less real for that: an address
# that listens everywhere, secrets in code, TLS without its check, a shell, SQL put together from text.
ALWAYS = {"B104", "B105", "B106", "B107", "B501", "B602", "B605", "B608"}
SILENCED = re.compile(r"#\s*nosec", re.IGNORECASE)  # also in "# nosecret", as Bandit reads it
# A second # ends what Bandit takes for the names of rules.
EXPLAINED = re.compile(r"#\s*nosec:? (B\d{3}(?:, ?B\d{3})*)\s+#\s*\w+(?:\W+\w+)+")


def bandit(*arguments: str) -> str:
    command = [sys.executable, "-m", "bandit", "--quiet", "--ini", os.devnull, "--exit-zero", *arguments]
    done = subprocess.run([*command, "--recursive", *TARGETS], cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"bandit failed: {done.stderr.strip()}")
    return done.stdout


def sources() -> dict[str, Path]:
    paths = [path for target in TARGETS for path in ROOT.joinpath(target).rglob("*.py")]
    return {path.relative_to(ROOT).as_posix(): path for path in sorted(paths)}


def judge(report: dict[str, Any]) -> Iterator[Finding]:
    """What fails of a report. Raises: SystemExit when it is not about all of this project's code."""
    unread = [f"{error['filename']}: {error['reason']}" for error in report["errors"]]
    left_out = sorted(sources().keys() - {Path(name).as_posix() for name in report["metrics"]})
    if unread or left_out or not sources():
        raise SystemExit("\n".join(["bandit has not read everything", *unread, *left_out]))
    for result in report["results"]:
        if result["issue_severity"] in ("MEDIUM", "HIGH") or result["test_id"] in ALWAYS:
            place = f"{Path(result['filename']).as_posix()}:{result['line_number']}"
            name = f"{result['test_id']}:{Path(result['filename']).as_posix()}"
            yield Finding(name, f"{place}: {result['issue_severity'].lower()}: {result['issue_text']}")


def silenced_without_a_reason() -> Iterator[Finding]:
    for name, path in sources().items():
        with path.open("rb") as file:
            for token in tokenize.tokenize(file.readline):
                if token.type == tokenize.COMMENT and SILENCED.search(token.string) and not _explains(token.string):
                    yield Finding(f"nosec:{name}", f"{name}:{token.start[0]}: # nosec without its rule and its reason")


def _explains(comment: str) -> bool:
    from bandit.core.extension_loader import MANAGER

    explained = EXPLAINED.search(comment)
    # One that Bandit does not know silences every rule.
    known = explained is not None and all(MANAGER.check_id(rule) for rule in re.split(", ?", explained[1]))
    return len(SILENCED.findall(comment)) == 1 and known


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--sarif", metavar="FILE", help="write every finding there too")
    sarif = parser.parse_args().sarif
    if sarif:
        bandit("--format", "sarif", "--output", sarif)
    report = json.loads(bandit("--format", "json"))
    return conclude("bandit", [*judge(report), *silenced_without_a_reason()])


if __name__ == "__main__":
    sys.exit(main())
