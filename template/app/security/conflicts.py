"""What an update leaves where it and you changed the same lines; it must not be committed, and nothing starts with it.

`copier update` ends with success even so. Run by itself, for hooks and CI: `python app/security/conflicts.py`. It uses
nothing but Python, since a conflict may stand in whatever it would import.
"""

import os
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import TracebackType

ROOT = Path(__file__).resolve().parents[2]
WHAT_TO_DO = """
Between the marks stand your lines and, below "=======", those of the template as it is now. Write the lines that do
both, remove the three marks, and `git add` the file. Never keep one side of a whole file: yours lacks a fix, the
template's lacks your change. What a .rej file holds goes into the file of that name by hand; then delete the .rej file.
As long as nothing of the update is committed and you have changed nothing since, this takes all of it back:
git reset --hard && git clean -d --force
"""
MARKERS = (b"<<<<<<< ", b">>>>>>> ")  # before one side, and after the other
SKIPPED = {".git", ".venv", "__pycache__", "node_modules", ".mypy_cache", ".ruff_cache", ".pytest_cache"}


def conflicts(paths: Iterable[Path]) -> Iterator[str]:
    """Each place in these files, as "path, line 7: …"; a path is shown as it is seen from the project."""
    for path in paths:
        shown = path.relative_to(ROOT) if path.is_relative_to(ROOT) else path
        if path.suffix == ".rej":
            yield f"{shown}: changes of an update that found no place"
        elif path.is_file():
            for number, line in enumerate(path.read_bytes().splitlines(), 1):
                if line.startswith(MARKERS):
                    yield f"{shown}, line {number}: a conflict of an update"


def project_files() -> Iterator[Path]:
    for folder, folders, names in os.walk(ROOT):
        folders[:] = sorted(set(folders) - SKIPPED)
        yield from (Path(folder, name) for name in sorted(names))


def explain_conflicts() -> None:
    """From now on a program that ends because Python cannot read a file says which conflicts are left."""
    usual = sys.excepthook

    def explain(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        found = list(conflicts(project_files())) if issubclass(kind, SyntaxError) else []
        if found:
            sys.stderr.write("\n".join(["Nothing starts before you decided what an update left:", *found, WHAT_TO_DO]))
        else:
            usual(kind, error, trace)

    sys.excepthook = explain


def main(arguments: list[str]) -> int:
    found = list(conflicts(map(Path.absolute, map(Path, arguments)) if arguments else project_files()))
    sys.stdout.write("\n".join([*found, WHAT_TO_DO]) if found else "")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
