"""pip-audit on everything that uv.lock holds, for whichever machine, the tools of development too, with its hashes.

    uv run python .github/security/audit_dependencies.py

pip-audit, and not `uv audit`: that one calls itself experimental and its report unstable, and no line of this project
says which uv runs it, while pip-audit's version is in the lock. Both databases are asked: PyPI's own, and OSV, which
knows malicious packages too. A package that neither can know (yours, from an index of your own) is left out by a waiver
for `not-audited:<name>`.
"""

import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

from waivers import ROOT, Finding, conclude, waived

DATABASES = ("pypi", "osv")
KINDS = ("CVE-", "GHSA-", "PYSEC-")
LEFT_OUT = "not-audited:"
EXACT = ("--strict", "--require-hashes", "--disable-pip")
REPORT = ("--progress-spinner", "off", "--desc", "off", "--format", "json")
ALL = ("--all-groups", "--all-extras", "--no-emit-project")
EXPORT = ("uv", "export", "--quiet", "--locked", *ALL, "--format", "requirements.txt")
REQUIREMENT = re.compile(r"^[^\s#].*\n(?:\s.*\n)*", re.MULTILINE)  # a line, and what is indented below it
CONDITION = re.compile(r" ;[^\\\n]*")
PINNED = re.compile(r"^([A-Za-z0-9._-]+)==([^\s;\\]+)", re.MULTILINE)


def run(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True)


def exported(without: Collection[str]) -> str:
    left_out = [argument for name in without for argument in ("--no-emit-package", name)]
    done = run(*EXPORT, *left_out)
    if done.returncode:
        raise SystemExit(f"uv.lock cannot be read: {done.stderr.strip()}")
    return done.stdout


def rounds(requirements: str) -> list[str]:
    """The same without conditions such as `; sys_platform == "win32"`: pip-audit leaves out what this machine would not
    install. It also refuses a package that is there in two versions, so a second one is asked about in a second round.
    """
    found: list[dict[str, str]] = []
    for text in REQUIREMENT.findall(requirements):
        name = _canonical(re.split(r"[\s=@]", text)[0])
        free = next((known for known in found if name not in known), None)
        if free is None:
            found.append(free := {})
        free[name] = CONDITION.sub(" ", text, count=1)
    return ["".join(known.values()) for known in found]


def audited(requirements: str, database: str) -> dict[str, Any]:
    """pip-audit's report. Raises: SystemExit when there is none, as without a network."""
    with tempfile.TemporaryDirectory() as scratch:
        file = Path(scratch, "requirements.txt")
        file.write_text(requirements, encoding="utf-8")
        pip_audit = (sys.executable, "-m", "pip_audit", *EXACT, *REPORT, "--vulnerability-service", database)
        done = run(*pip_audit, "--requirement", str(file))
    try:
        report: dict[str, Any] = json.loads(done.stdout)
    except json.JSONDecodeError:
        last = (done.stderr.strip() or "no report").splitlines()[-1]
        raise SystemExit(f"pip-audit could not ask {database}: {last}") from None
    return report


def judge(report: dict[str, Any], requirements: str) -> Iterator[Finding]:
    """Every advisory of a report. Raises: SystemExit when it does not cover what it was asked about."""
    pinned = {(_canonical(name), version) for name, version in PINNED.findall(requirements)}
    seen = {(_canonical(entry["name"]), entry.get("version")) for entry in report["dependencies"] if "vulns" in entry}
    if not pinned or pinned - seen:
        missing = ", ".join(sorted(name for name, _ in pinned - seen)) or "nothing was"
        raise SystemExit(f"not everything was audited: {missing}")
    for entry in report["dependencies"]:
        if "skip_reason" in entry:
            raise SystemExit(f"{entry['name']} was not audited: {entry['skip_reason']}")
        for advisory in entry["vulns"]:
            names = sorted({advisory["id"], *advisory["aliases"]}, key=_best_known)
            fixed = ", ".join(advisory["fix_versions"]) or "no version"
            yield Finding(names[0], f"{entry['name']} {entry['version']}: {', '.join(names)}; fixed in {fixed}")


def _best_known(name: str) -> tuple[int, str]:
    """The two databases call an advisory by different names; a waiver names the first of these."""
    return next((place for place, start in enumerate(KINDS) if name.startswith(start)), len(KINDS)), name


def _canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def main() -> int:
    known = waived("pip-audit")
    requirements = exported([name.removeprefix(LEFT_OUT) for name in known if name.startswith(LEFT_OUT)])
    findings = set[Finding]()
    for asked in rounds(requirements) or [requirements]:
        for database in DATABASES:
            findings.update(judge(audited(asked, database), asked))
    return conclude("pip-audit", sorted(findings))


if __name__ == "__main__":
    sys.exit(main())
