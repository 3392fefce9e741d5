"""No conflict marker, lock file or package index may be committed.

A lock file fits one set of answers only, and an index address sends everybody to the one that its writer can reach.
"""

import re
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

LOCK_FILES = re.compile(r".*\.lock|package-lock\.json|.*\.rej|.*\.orig")
LINES = {
    "a conflict marker": re.compile(r"^(<{7}|>{7}|[|]{7})( |$)"),
    "the address of a package index": re.compile(
        r"index[-_]url[\"']?\s*[=: ]\s*[\"']?(https?|file):|^\[\[tool\.uv\.index\]\]|(UV|PIP)_\w*INDEX\w*\s*[=:]"
    ),
}


def complaints(path: Path) -> Iterator[str]:
    if LOCK_FILES.fullmatch(path.name):
        yield f"{path}: is made by the owner of a project"
    if path.is_file():
        for number, line in enumerate(path.read_text(errors="replace").splitlines(), 1):
            yield from (f"{path}:{number}: {what}" for what, pattern in LINES.items() if pattern.search(line))


def committed() -> list[Path]:
    listed = subprocess.run(["git", "ls-files", "-z"], check=True, capture_output=True, text=True).stdout
    return [Path(name) for name in listed.split("\0") if name]


def main(paths: Iterable[Path]) -> int:
    found = [complaint for path in paths for complaint in complaints(path)]
    for complaint in found:
        print(complaint)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main([Path(name) for name in sys.argv[1:]] or committed()))
