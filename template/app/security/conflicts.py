"""Names the conflicts that `copier update` left: it ends with success even so, and they must not be committed.

Hooks and CI run it as a script: `python3 app/security/conflicts.py`. It imports nothing but Python's own modules, since
a conflict may be in any other.
"""

import os
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
WHAT_TO_DO = """
Write the lines that do what both sides do, remove the three marks, and `git add` the file. Write the changes of a .rej
file into the file of that name, then delete it. Before you commit or change anything, this undoes the whole update:
git reset --hard && git clean -d --force
"""
MARKERS = (b"<<<<<<< ", b">>>>>>> ")  # before one side, and after the other
LARGEST = 1024 * 1024  # a larger file is data
SKIPPED = {".git", ".venv", "__pycache__", "node_modules", ".mypy_cache", ".ruff_cache", ".pytest_cache"}


def conflicts(paths: Iterable[Path]) -> Iterator[str]:
    """Each conflict in these files, as "path, line 7: …" with the path as seen from the project."""
    for path in paths:
        shown = path.relative_to(ROOT) if path.is_relative_to(ROOT) else path
        if path.suffix == ".rej":
            yield f"{shown}: changes of an update that could not be applied"
        elif path.is_file() and path.stat().st_size < LARGEST:
            for number, line in enumerate(path.read_bytes().splitlines(), 1):
                if line.startswith(MARKERS):
                    yield f"{shown}, line {number}: a conflict of an update"


def project_files() -> Iterator[Path]:
    for folder, folders, names in os.walk(ROOT):
        folders[:] = sorted(set(folders) - SKIPPED)
        yield from (Path(folder, name) for name in sorted(names))


def main(arguments: list[str]) -> int:
    found = list(conflicts(map(Path.absolute, map(Path, arguments)) if arguments else project_files()))
    sys.stdout.write("\n".join([*found, WHAT_TO_DO]) if found else "" if arguments else "No conflicts.\n")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
