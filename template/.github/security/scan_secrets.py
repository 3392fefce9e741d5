"""Kingfisher on everything that git holds here, so a secret that was removed by a later commit is found too.

    uv run python .github/security/scan_secrets.py             # every commit of every branch and tag, and what it says
    uv run python .github/security/scan_secrets.py FILE …      # these files as they are: the hook before a commit

Kingfisher comes as a package, so its version is in uv.lock, and it needs no network: it asks nobody whether a secret
still works, and never prints one. A secret that was committed is known: revoke it, then waive it by the id that is
printed here, which stands for its value wherever it is.
"""

import hashlib
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path, PurePath
from typing import Any

from waivers import ROOT, Finding, conclude

RULES = ".github/security/secret_rules.yml"
# The throw-away PostgreSQL of a CI machine, which nobody else reaches: ci.yml, in projects since 0.1.0. A finding that
# is this address and nothing else, up to the space or quote that the scanner takes with it.
THROW_AWAY = r"\Apostgresql://tests:tests@127\.0\.0\.1/tests[\s\"'`]?\z"
OFFLINE = ("--no-update-check", "scan", "--no-validate")
NOTHING_HIDDEN = ("--no-ignore", "--no-limits", "--rules-path", RULES, "--skip-regex", THROW_AWAY)


def run(*command: str) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    except FileNotFoundError:
        raise SystemExit(f"{command[0]} is not here; type: uv run python .github/security/scan_secrets.py") from None


def history() -> tuple[str, ...]:
    """Git's own folder: so what git ignores, such as .env, is not looked at. Raises: SystemExit without a git."""
    done = run("git", "rev-parse", "--git-common-dir")
    if done.returncode:
        raise SystemExit("this is no git repository: name the files to scan")
    return ("--git-history", "full", done.stdout.strip())


def scan(*files: str) -> dict[str, Any]:
    scope = ("--git-history", "none", "--", *files) if files else history()
    done = run("kingfisher", "--quiet", *OFFLINE, "--format", "json", *NOTHING_HIDDEN, *scope)
    try:  # 200 says that something was found; the report says what
        report: dict[str, Any] = json.loads(done.stdout)
    except json.JSONDecodeError:
        raise SystemExit(f"kingfisher failed: {done.stderr.strip()}") from None
    if done.returncode not in (0, 200):
        raise SystemExit(f"kingfisher failed ({done.returncode}): {done.stderr.strip()}")
    return report


def judge(report: dict[str, Any], whole: bool) -> Iterator[Finding]:
    """Every finding of a report. Raises: SystemExit when something was left out of it."""
    if problem := _left_out(report, whole):
        raise SystemExit(f"the scan is not complete: {problem}")
    for result in report["findings"]:
        rule, found = result["rule"], result["finding"]
        commit = found.get("git_metadata", {}).get("commit", {}).get("id", "")
        place = f"{PurePath(found['path']).as_posix()}:{found['line']}" + (f" in {commit[:12]}" if commit else "")
        yield Finding(f"{rule['id']}:{_fingerprint(found['snippet'])}", f"{place}: {rule['description']}")


def _left_out(report: dict[str, Any], whole: bool) -> str:
    audit = report["audit"]
    if audit["summary"]["scan_succeeded"] != audit["summary"]["discovered"] or not audit["summary"]["discovered"]:
        return f"{audit['summary']}"
    repositories = [target.get("git") for target in audit["repositories"]]
    if whole and not any(git and git["fetched_commit_count"] for git in repositories):
        return "no commit is here"
    if whole and any(git and git["shallow"] for git in repositories):
        return "this is a shallow clone; type: git fetch --unshallow"
    return ""


def _fingerprint(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()[:16]


def in_messages() -> Iterator[Finding]:
    """What is written about commits and tags, which the scanner does not look at."""
    commits = run("git", "log", "--all", "--format=%B").stdout
    tags = run("git", "for-each-ref", "--format=%(contents)", "refs/tags").stdout
    with tempfile.TemporaryDirectory() as scratch:
        file = Path(scratch, "messages")
        file.write_text(f"of commits and tags\n{commits}{tags}", encoding="utf-8")
        for found in judge(scan(str(file)), whole=False):
            yield found._replace(text=found.text.replace(file.as_posix(), "a message of a commit or tag, line "))


def in_files() -> set[str]:
    """The ids of what the files of this checkout hold, as git has them: such a secret is not history yet."""
    with tempfile.TemporaryDirectory() as scratch:
        done = run("git", "checkout-index", "--all", f"--prefix={scratch}/")
        if done.returncode:
            raise SystemExit(f"git failed: {done.stderr.strip()}")
        return {found.id for found in judge(scan(scratch), whole=False)}


def main(names: list[str]) -> int:
    if names:
        return conclude("kingfisher", judge(scan(*names), whole=False))
    found = [*judge(scan(), whole=True), *in_messages()]
    held = in_files() if found else set()
    return conclude("kingfisher", [finding._replace(old=finding.id not in held) for finding in found])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
