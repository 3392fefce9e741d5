"""Text in docs/ that tests make: it has to be what they make now. REGENERATE=1 writes it instead of comparing."""

import os
from pathlib import Path

REGENERATE = bool(os.environ.get("REGENERATE"))
COMMAND = (
    "REGENERATE=1 EVERY_VARIANT=1 uv run pytest -n0 "
    "tests/test_reference.py tests/test_pictures.py tests/test_tutorial.py"
)


def compare(path: Path, text: str) -> None:
    """Fail where the file has another text; with REGENERATE=1 write it."""
    if REGENERATE:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    assert path.exists(), f"{path.name} is missing: {COMMAND}"
    assert path.read_text() == text, f"{path.name} is stale: {COMMAND}"


def compare_part(path: Path, marker: str, text: str) -> None:
    """The same for what stands between `<!-- marker: … -->` and `<!-- end -->`."""
    whole = path.read_text()
    start = whole.index("-->\n", whole.index(f"<!-- {marker}:")) + 4
    end = whole.index("<!-- end -->", start)
    compare(path, whole[:start] + text + whole[end:])
