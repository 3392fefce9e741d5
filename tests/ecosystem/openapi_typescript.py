"""openapi-typescript | as is | `uv run manage openapi > openapi.json`, then `npx openapi-typescript openapi.json`"""

import subprocess
import sys
from pathlib import Path

PACKAGES: list[str] = []


def test_types_are_made_of_the_document(tmp_path: Path) -> None:
    document, types = tmp_path / "openapi.json", tmp_path / "api.ts"
    printed = subprocess.run([sys.executable, "-m", "app.manage", "openapi"], check=True, capture_output=True)
    document.write_bytes(printed.stdout)

    command = ["npx", "--yes", "openapi-typescript@7", str(document), "--output", str(types)]
    subprocess.run(command, check=True, capture_output=True)

    assert '"/notes/{note_id}"' in types.read_text()
