"""The released versions, each known by the commit that wrote it into CHANGELOG.md: a clone may have no tags."""

import re
import subprocess
from functools import cache
from pathlib import Path

from hooks.check_release import versions

ROOT = Path(__file__).resolve().parents[1]


def _git(*arguments: str) -> str:
    return subprocess.run(["git", *arguments], cwd=ROOT, check=True, capture_output=True, text=True).stdout


@cache
def releases() -> dict[str, str]:
    """The commit of each version, the oldest version first. What is not committed yet is no release."""
    found = {}
    for version in reversed(versions(_git("show", "HEAD:CHANGELOG.md"))):
        heading = rf"^## {re.escape(version)} - "
        commits = _git("log", "--reverse", "--format=%H", f"-G{heading}", "--", "CHANGELOG.md").split()
        assert commits, f"no commit of this clone wrote {version} into CHANGELOG.md: it has to have the whole history"
        found[version] = commits[0]
    return found


RELEASES = list(releases())
OLDEST = RELEASES[0]
