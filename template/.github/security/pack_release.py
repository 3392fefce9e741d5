"""What a release consists of: the source as it was committed, and the list of what it runs with.

    uv run --group security-release python .github/security/pack_release.py

It makes dist/source.tar.gz and dist/sbom.cdx.json (CycloneDX). The list is read from uv.lock, without the tools of
development, and refused where it differs from it.
"""

import json
import re
import subprocess
import sys

from waivers import ROOT

DIST = ROOT / "dist"
EXPORT = ("uv", "export", "--quiet", "--locked", "--no-dev", "--no-emit-project", "--format", "requirements.txt")
CYCLONEDX = ("-m", "cyclonedx_py", "requirements", "-", "--pyproject", "pyproject.toml", "--mc-type", "application")
PINNED = re.compile(r"^([A-Za-z0-9._-]+)==([^\s;\\]+)", re.MULTILINE)


def run(*command: str, stdin: str = "") -> str:
    done = subprocess.run(command, cwd=ROOT, input=stdin, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{' '.join(command[:3])} failed: {done.stderr.strip()}")
    return done.stdout


def sbom(requirements: str) -> str:
    """The CycloneDX document of these requirements. Raises: SystemExit when it lists anything else."""
    text = run(sys.executable, *CYCLONEDX, "--output-reproducible", "--output-format", "JSON", stdin=requirements)
    listed = {(component["name"], component["version"]) for component in json.loads(text)["components"]}
    locked = set(PINNED.findall(requirements))
    if not locked or listed != locked:
        raise SystemExit(f"the list is not what uv.lock says: {sorted(listed ^ locked)}")
    return text


def main() -> None:
    DIST.mkdir(exist_ok=True)
    (DIST / "sbom.cdx.json").write_text(sbom(run(*EXPORT)), encoding="utf-8")
    run("git", "archive", "--format", "tar.gz", "--output", "dist/source.tar.gz", "HEAD")


if __name__ == "__main__":
    main()
