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
            sys.stderr.write("\n".join(["Resolve what the update left (UPGRADING.md):", *found]) + "\n")
        else:
            usual(kind, error, trace)

    sys.excepthook = explain


def main(arguments: list[str]) -> int:
    found = list(conflicts(map(Path.absolute, map(Path, arguments)) if arguments else project_files()))
    sys.stdout.writelines(f"{place}\n" for place in found)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
