"""Checks that CHANGELOG.md, UPGRADING.md, pyproject.toml and the security notices name every release.

The answers that a security fix concerns are in CHANGELOG.md for people, and in copier.yml for projects.
"""

import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[1]
RELEASED = re.compile(r"^## (\d+\.\d+\.\d+) - \d{4}-\d{2}-\d{2}$", re.MULTILINE)
EVERY_PROJECT = "every project"
CONCERNS = re.compile(r"^- (?P<fix>.+) \*\(concerns: (?P<features>[a-z_, ]+)\)\*$")


def versions(changelog: str) -> list[str]:
    """The released ones, the newest first."""
    return RELEASED.findall(changelog)


def section(changelog: str, version: str) -> str:
    """What CHANGELOG.md says of one version."""
    heading = re.search(rf"^## {re.escape(version)}\b.*$", changelog, re.MULTILINE)
    return re.split(r"^## ", changelog[heading.end() :], maxsplit=1, flags=re.MULTILINE)[0] if heading else ""


def security_fixes(text: str) -> list[str]:
    """The lines below "### Security" in the section of one version."""
    found = re.split(r"^### Security$", text, maxsplit=1, flags=re.MULTILINE)
    lines = re.split(r"^### ", found[1], maxsplit=1, flags=re.MULTILINE)[0].splitlines() if len(found) > 1 else []
    return [line for line in lines if line.strip()]


def notices(changelog: str) -> Iterator[dict[str, Any]]:
    """What copier.yml has to hold: each security fix, and which features it concerns (none named: every project)."""
    for version in versions(changelog):
        for line in security_fixes(section(changelog, version)):
            found = CONCERNS.match(line)
            if found:
                names = [] if found["features"] == EVERY_PROJECT else found["features"].split(", ")
                yield {"version": version, "fix": found["fix"], "features": names}


def complaints(root: Path) -> Iterator[str]:
    changelog, upgrading = (root / "CHANGELOG.md").read_text(), (root / "UPGRADING.md").read_text()
    questions = yaml.safe_load((root / "copier.yml").read_text())
    released = versions(changelog)
    declared = tomllib.loads((root / "pyproject.toml").read_text())["project"]["version"]
    if released[:1] != [declared]:
        yield f"pyproject.toml: says version {declared}, and the newest in CHANGELOG.md is {', '.join(released[:1])}"
    told = re.findall(r"^### (\d+\.\d+\.\d+)$", upgrading, re.MULTILINE)
    if told != released:
        yield f"UPGRADING.md: tells of {', '.join(told)}, and CHANGELOG.md of {', '.join(released)}"
    known = set(yaml.safe_load(re.sub(r"\{\{=.*?\}\}", "true", questions["features"]["default"])))
    for part in re.split(r"^## ", changelog, flags=re.MULTILINE)[1:]:
        for line in security_fixes(part):
            found = CONCERNS.match(line)
            if not found:
                yield f"CHANGELOG.md: end this line with *(concerns: …)*: {line}"
            elif unknown := set(found["features"].split(", ")) - known - {EVERY_PROJECT}:
                yield f"CHANGELOG.md: no feature is called {', '.join(sorted(unknown))}: {line}"
    expected = list(notices(changelog))
    if (yaml.safe_load(questions["security_notices"]["default"]) or []) != expected:
        yield "copier.yml: security_notices are not the security fixes of CHANGELOG.md"


def main(root: Path = ROOT) -> int:
    found = list(complaints(root))
    for complaint in found:
        print(complaint)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
