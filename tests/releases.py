"""The released versions, each known by the commit that wrote it into CHANGELOG.md: a clone may have no tags."""

from functools import cache

from hooks.check_release import versions
from hooks.prepare_release import ROOT, commit_of, git


@cache
def releases() -> dict[str, str]:
    """The commit of each version, the oldest version first. What is not committed yet is no release."""
    return {version: commit_of(ROOT, version) for version in reversed(versions(git(ROOT, "show", "HEAD:CHANGELOG.md")))}


RELEASES = list(releases())
OLDEST = RELEASES[0]
