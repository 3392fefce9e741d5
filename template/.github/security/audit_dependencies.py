"""pip-audit on every package of uv.lock, for all platforms and with development tools, against PyPI and OSV.

    uv run python .github/security/audit_dependencies.py

A waiver for `not-audited:<name>` leaves out a private package, which neither database can have.
"""

import json
import sys
import tempfile
import tomllib
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

from waivers import Finding, conclude, run, waived

DATABASES = ("pypi", "osv")
LEFT_OUT = "not-audited:"
EXPORT = ("uv", "export", "--quiet", "--locked", "--all-groups", "--all-extras", "--no-emit-project")
REPORT = ("--strict", "--progress-spinner", "off", "--desc", "off", "--format", "json")


def export(file: Path, without: Collection[str]) -> set[tuple[str, str]]:
    """Write uv.lock as pylock.toml, whose platform conditions pip-audit ignores; the names and versions in it."""
    left_out = [argument for name in without for argument in ("--no-emit-package", name)]
    run("uv.lock cannot be read", *EXPORT, *left_out, "--format", "pylock.toml", "--output-file", str(file))
    packages = tomllib.loads(file.read_text(encoding="utf-8")).get("packages", [])
    return {(package["name"], package.get("version", "?")) for package in packages}


def audit(folder: str, database: str) -> Any:
    """pip-audit's report on a folder's pylock.toml. Raises: SystemExit without one, as when the network is down."""
    command = [sys.executable, "-m", "pip_audit", *REPORT, "--vulnerability-service", database, "--locked", folder]
    return json.loads(run(f"pip-audit could not query {database}", *command, found=1))


def judge(report: dict[str, Any], locked: set[tuple[str, str]]) -> Iterator[Finding]:
    """Every advisory of a report. Raises: SystemExit when the report does not cover every locked package."""
    audited = {(entry["name"], entry.get("version")) for entry in report["dependencies"] if "vulns" in entry}
    if not locked or locked - audited:
        missing = ", ".join(sorted(name for name, _ in locked - audited)) or "the lock is empty"
        raise SystemExit(f"not every package was audited: {missing}")
    for entry in report["dependencies"]:
        for advisory in entry["vulns"]:
            names = sorted({advisory["id"], *advisory["aliases"]})  # the first is a waiver's id: CVE before GHSA, PYSEC
            fixed = ", ".join(advisory["fix_versions"]) or "no version"
            yield Finding(names[0], f"{entry['name']} {entry['version']}: {', '.join(names)}; fixed in {fixed}")


def main() -> int:
    left_out = [name.removeprefix(LEFT_OUT) for name in waived("pip-audit") if name.startswith(LEFT_OUT)]
    with tempfile.TemporaryDirectory() as scratch:
        locked = export(Path(scratch, "pylock.toml"), left_out)
        findings = {finding for name in DATABASES for finding in judge(audit(scratch, name), locked)}
    return conclude("pip-audit", sorted(findings))


if __name__ == "__main__":
    sys.exit(main())
