"""Generate a project with the defaults, and run every scan that its own security.yml runs.

The list of scans is that workflow: a scan that is added there is run here too.
"""

import re
import subprocess
import sys
import tempfile
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[1]
SCAN = re.compile(r"uv run\b.*\bpython \.github/security/\w+\.py")
GENERATE = ("copier", "copy", "--defaults", "--quiet", "--vcs-ref", "HEAD", "--data", "project_name=Audited Service")
LIKE_ITS_OWNER = (
    ("git", "init", "--quiet"),
    ("uv", "lock", "--quiet"),
    ("uv", "sync", "--quiet", "--locked"),
    ("git", "add", "--all"),
    ("git", "-c", "user.name=Audit", "-c", "user.email=audit@example.com", "commit", "--quiet", "--message", "Begin"),
)


def scans(workflow: str) -> list[str]:
    """The commands of the jobs that always run a script of the template."""
    jobs = [job for job in yaml.safe_load(workflow)["jobs"].values() if "if" not in job]
    commands = [step.get("run", "").strip() for job in jobs for step in job["steps"]]
    return [command for command in commands if SCAN.search(command)]


def generate(folder: Path) -> Path:
    subprocess.run([*GENERATE, str(ROOT), str(folder)], check=True)
    for command in LIKE_ITS_OWNER:
        subprocess.run(command, cwd=folder, check=True)
    return folder


def failed(project: Path) -> list[str]:
    """The scans that find something; each runs."""
    commands = scans((project / ".github/workflows/security.yml").read_text())
    if not commands:
        return ["security.yml has no scan"]
    found = []
    for command in commands:
        print(f"::group::{command}", flush=True)
        done = subprocess.run(["bash", "-euo", "pipefail", "-c", command], cwd=project)
        print("::endgroup::", flush=True)
        found += [f"{command} ended with {done.returncode}"] if done.returncode else []
    return found


def main() -> int:
    with tempfile.TemporaryDirectory() as scratch:
        found = failed(generate(Path(scratch) / "project"))
    for what in found:
        print(what)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
