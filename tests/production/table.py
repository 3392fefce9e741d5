"""Writes docs/faults.md: uv run python -m tests.production.table

It runs every test of this folder, and asks for an hour.
"""

import ast
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from xml.etree import ElementTree

from tests.rendering import ROOT

TABLE = ROOT / "docs/faults.md"
FOLDER = Path(__file__).parent
HEAD = """# Faults

Each row is a test (`tests/production`) in production on one machine: two instances with two workers each, PostgreSQL,
Redis and nginx with TLS, from the documents of `deploy/`. Under 20 requests a second, a read or a write of a note, a
route that needs no SQL, or a change of keys, which is audited. After each fault every acknowledged write is in the
database and `manage audit verify` passes.

`uv run python -m tests.production.table` runs every test and writes this table.

| Fault | What happens | Seen |
|---|---|---|
"""


def faults() -> dict[str, str]:
    """The row of each test without what was seen: the first line of its docstring, and the rest of it."""
    found = {}
    for path in sorted(FOLDER.glob("test_*.py")):
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.FunctionDef) and "seen" in [argument.arg for argument in node.args.args]:
                first, _, rest = (ast.get_docstring(node) or "").partition("\n\n")
                found[node.name] = f"| {first.removesuffix('.')} | {' '.join(rest.split())} |"
    return found


def write() -> int:
    """Run the tests. Returns their exit code; writes the table where it is 0."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        options = ["--numprocesses=0", "--override-ini=junit_family=legacy", f"--junitxml={report}"]
        environment = os.environ | {"EVERY_VARIANT": "1"}
        command = [sys.executable, "-m", "pytest", str(FOLDER), *options, *sys.argv[1:]]
        code = subprocess.run(command, cwd=ROOT, env=environment).returncode
        seen = {
            str(case.get("name")): str(one.get("value"))
            for case in ElementTree.parse(report).iter("testcase")  # noqa: S314  our own file
            for one in case.iter("property")
            if one.get("name") == "seen"
        }
    rows = faults()
    if code == 0 and seen.keys() == rows.keys():
        TABLE.write_text(HEAD + "".join(f"{row} {seen[name]} |\n" for name, row in rows.items()))
    return code


if __name__ == "__main__":
    sys.exit(write())
