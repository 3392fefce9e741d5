"""Kingfisher on every commit, so that it also finds a secret that a later commit removed.

    uv run python .github/security/scan_secrets.py             # every commit and message of every branch and tag
    uv run python .github/security/scan_secrets.py FILE …      # these files: the pre-commit hook

It needs no network, and prints no secret. A committed secret is public: revoke it, then waive it by the printed id,
which identifies its value in every place.
"""

import hashlib
import json
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path, PurePath
from typing import Any

from waivers import Finding, conclude, run

RULES = ".github/security/secret_rules.yml"
# The throw-away PostgreSQL of a CI machine (ci.yml), with the space or quote that the scanner adds.
THROW_AWAY = r"\Apostgresql://tests:tests@127\.0\.0\.1/tests[\s\"'`]?\z"
KINGFISHER = ("kingfisher", "--quiet", "--no-update-check", "scan", "--no-validate", "--format", "json")
NOTHING_HIDDEN = ("--no-ignore", "--no-limits", "--rules-path", RULES, "--skip-regex", THROW_AWAY)


def scan(*scope: str) -> Any:
    return json.loads(run("kingfisher failed", *KINGFISHER, *NOTHING_HIDDEN, *scope, found=200))


def judge(report: dict[str, Any]) -> Iterator[Finding]:
    """Every finding of a report. Raises: SystemExit when the scan was not complete."""
    summary = report["audit"]["summary"]
    if summary["scan_succeeded"] != summary["discovered"] or not summary["discovered"]:
        raise SystemExit(f"the scan is not complete: {summary}")
    for result in report["findings"]:
        rule, found = result["rule"], result["finding"]
        commit = found.get("git_metadata", {}).get("commit", {}).get("id", "")
        place = f"{PurePath(found['path']).as_posix()}:{found['line']}" + (f" in {commit[:12]}" if commit else "")
        fingerprint = hashlib.sha256(found["snippet"].encode()).hexdigest()[:16]
        yield Finding(f"{rule['id']}:{fingerprint}", f"{place}: {rule['description']}")


def files(*names: str) -> Iterator[Finding]:
    return judge(scan("--git-history", "none", "--", *names))


def history() -> Iterator[Finding]:
    """Every commit, read from git's own folder, so ignored files such as .env are left out."""
    folder = run("name files, since this is no git repository", "git", "rev-parse", "--git-common-dir")
    report = scan("--git-history", "full", folder.strip())
    repositories = [target["git"] for target in report["audit"]["repositories"] if target.get("git")]
    if not any(git["fetched_commit_count"] for git in repositories):
        raise SystemExit("the scan is not complete: no commit is here")
    if any(git["shallow"] for git in repositories):
        raise SystemExit("the scan is not complete: this is a shallow clone; type: git fetch --unshallow")
    return judge(report)


def messages() -> Iterator[Finding]:
    """The messages of commits and tags, which Kingfisher does not scan."""
    commits = run("the commits cannot be read", "git", "log", "--all", "--format=%B")
    tags = run("the tags cannot be read", "git", "for-each-ref", "--format=%(contents)", "refs/tags")
    with tempfile.TemporaryDirectory() as scratch:
        file = Path(scratch, "messages")
        file.write_text(f"Messages\n{commits}{tags}", encoding="utf-8")
        for found in files(str(file)):
            yield found._replace(text=found.text.replace(file.as_posix(), "a message of a commit or tag, line "))


if __name__ == "__main__":
    sys.exit(conclude("kingfisher", files(*sys.argv[1:]) if sys.argv[1:] else [*history(), *messages()]))
