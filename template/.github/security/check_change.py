"""What a change opens, and what it touches of the template's, compared with the last commit.

uv run python .github/security/check_change.py          # the hook: fails, with a reason for each finding
uv run python .github/security/check_change.py --json   # the same as data
"""

import io
import json
import os
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
MEANT = "If it is meant, say so with: SKIP=change git commit …"
BEHIND = (
    "the template's: an update would lose or fight this change. Put it into a file of yours; "
    "a fixed number has none: docs/security/settings.md says how to change it"
)
HOLDS = ("rate limit ", "CSP ", "internal ")  # what a route holds its callers to, whoever they are
REQUIRES = ("scope ", "role ", "recent ")
NAMES = ("app/database.py", ".github/workflows/security.yml", ".github/workflows/security-tests.yml")


def git(*arguments: str) -> bytes:
    return subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, check=True).stdout


def changed() -> list[str]:
    """Files that differ from the last commit. Before the first one there are none."""
    try:
        return [name for name in git("diff", "HEAD", "--name-only", "--relative", "-z").decode().split("\0") if name]
    except subprocess.CalledProcessError:
        return []


def template_files(names: list[str]) -> list[str]:
    """An update changes them, too, and with them the version in .copier-answers.yml."""
    owned = [name for name in names if name in NAMES or "security" in Path(name).parts[:-1]]
    return [] if ".copier-answers.yml" in names else owned


def routes(folder: Path) -> dict[str, set[str]]:
    """What each route requires. Raises: ValueError with the reason for which the app does not start."""
    command, variables = [sys.executable, "-m", "app.manage", "routes"], {"FASTAPI_ENV": "development"}
    done = subprocess.run(command, cwd=folder, env=os.environ | variables, capture_output=True, text=True)
    if done.returncode:
        raise ValueError(done.stderr.strip() or done.stdout.strip())
    found: dict[str, set[str]] = {}
    for line in done.stdout.splitlines():
        method, path, callers = line.split(maxsplit=2)
        words = callers.split(", ")
        required = {word for word in words if word.startswith(REQUIRES + HOLDS)}
        required |= set() if "everyone" in words else {"authentication"}
        found |= {f"{one} {path}": required for one in method.split(",")}
    return found


def routes_before() -> dict[str, set[str]]:
    """Of the last commit; none where that one does not start."""
    with tempfile.TemporaryDirectory() as folder:
        with tarfile.open(fileobj=io.BytesIO(git("archive", "HEAD"))) as archive:
            archive.extractall(folder, filter="tar")  # with links to elsewhere, as git has them
        if (ROOT / ".env").is_file():  # no commit has it
            Path(folder, ".env").symlink_to(ROOT / ".env")
        try:
            return routes(Path(folder))
        except ValueError:
            return {}


def weaker_routes(names: list[str]) -> Iterator[str]:
    if not any(name.startswith("app/") for name in names):
        return
    try:
        now = routes(ROOT)
    except ValueError as error:
        yield str(error)
        return
    before = routes_before()
    for name, required in now.items():
        for lost in sorted(before.get(name, {"authentication"}) - required) if before else ():
            verb = "have" if lost.startswith(HOLDS) else "require"
            yield f"{name} does not {verb} {lost}{' any more' if name in before else ''}"


if __name__ == "__main__":
    names = changed()
    report = {"template_files": template_files(names), "weaker_routes": list(weaker_routes(names))}
    if "--json" in sys.argv[1:]:
        sys.stdout.write(json.dumps(report, indent=2) + "\n")
    else:
        findings = [f"{name} is {BEHIND}" for name in report["template_files"]] + report["weaker_routes"]
        sys.stdout.write("".join(f"{finding}\n" for finding in [*findings, MEANT] if findings))
    sys.exit(1 if any(report.values()) else 0)
