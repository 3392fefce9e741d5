"""What a release consists of: its tag, the commit that wrote it into CHANGELOG.md, its notes and its source.

Prints `tag=…` and `commit=…` for a workflow, and writes notes.md and the archive into the folder that it is given.
"""

import re
import subprocess
import sys
from pathlib import Path

from hooks.check_release import complaints, section, versions

ROOT = Path(__file__).resolve().parents[1]
NAME = "copier-fastapi-secure"


def git(root: Path, *arguments: str) -> str:
    return subprocess.run(["git", *arguments], cwd=root, check=True, capture_output=True, text=True).stdout


def commit_of(root: Path, version: str) -> str:
    """The first that wrote this version into CHANGELOG.md, so a clone without tags has its releases, too."""
    heading = rf"^## {re.escape(version)} - "
    commits = git(root, "log", "--reverse", "--format=%H", f"-G{heading}", "--", "CHANGELOG.md").split()
    if not commits:
        sys.exit(f"No commit of this clone wrote {version} into CHANGELOG.md: it has to have the whole history.")
    return commits[0]


def prepare(root: Path, folder: Path) -> dict[str, str]:
    """Raises: SystemExit when nothing is released, when its tag is there, or when a document does not name it."""
    released = versions(git(root, "show", "HEAD:CHANGELOG.md"))
    if not released:
        sys.exit("CHANGELOG.md names no released version.")
    version, tag = released[0], f"v{released[0]}"
    if git(root, "tag", "--list", tag):
        sys.exit(f"{tag} is there already, and a tag never moves: the next release is a new version.")
    commit = commit_of(root, version)
    found = list(complaints(root))
    if found:
        sys.exit("\n".join(found))
    folder.mkdir(parents=True)
    archive = (folder / f"{NAME}-{version}.tar.gz").resolve()
    git(root, "archive", "--format=tar.gz", f"--prefix={NAME}-{version}/", f"--output={archive}", commit)
    notes = section(git(root, "show", f"{commit}:CHANGELOG.md"), version)
    (folder / "notes.md").write_text(notes.strip() + "\n")
    return {"tag": tag, "commit": commit}


def main() -> None:
    for name, value in prepare(ROOT, Path(sys.argv[1])).items():
        print(f"{name}={value}")


if __name__ == "__main__":
    main()
