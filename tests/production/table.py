"""Writes docs/faults.md: uv run python -m tests.production.table

It runs every test of this folder, which takes half an hour, or those that `-k` chooses.
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


def write(*options: str) -> int:
    """Run the tests, or those that pytest's options choose. Rows of tests that passed are written anew."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        command = [sys.executable, "-m", "pytest", str(FOLDER), "--numprocesses=0", f"--junitxml={report}", *options]
        command.append("--override-ini=junit_family=legacy")
        code = subprocess.run(command, cwd=ROOT, env=os.environ | {"EVERY_VARIANT": "1"}).returncode
        found = _seen_before() | _seen_now(report)
    TABLE.write_text(HEAD + "".join(f"{row} {found.get(row, 'not run')} |\n" for row in faults().values()))
    return code


def _seen_before() -> dict[str, str]:
    if not TABLE.exists():
        return {}
    rows = [line.removesuffix(" |").rpartition(" | ") for line in TABLE.read_text().splitlines()]
    return {f"{row} |": seen for row, _, seen in rows}


def _seen_now(report: Path) -> dict[str, str]:
    rows, passed = faults(), {}
    for case in ElementTree.parse(report).iter("testcase"):  # noqa: S314  our own file
        properties = {one.get("name"): str(one.get("value")) for one in case.iter("property")}
        if "seen" in properties and case.find("failure") is None and case.find("error") is None:
            passed[rows[str(case.get("name"))]] = properties["seen"]
    return passed


if __name__ == "__main__":
    sys.exit(write(*sys.argv[1:]))
