"""Checks every workflow: no default permissions, time limits, pinned actions, no expressions in commands.

Each action is pinned by its commit, and the table in .github/CONTRIBUTING.md says which: `--write` rewrites it.
"""

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = (".github/workflows", "template/.github/workflows")
USES = re.compile(r"^\s*(?:- )?uses:\s*(?P<what>.+?)\s*$", re.MULTILINE)
PINNED = re.compile(r"(?P<action>[\w.-]+/[\w./-]+)@(?P<commit>[0-9a-f]{40}) # (?P<version>v\d+\.\d+\.\d+)")
TABLE = re.compile(r"(?<=\| Action \| Version \| Commit \|\n\|---\|---\|---\|\n)(?:\|.*\n)*")
# They run with the rights of the branch that is asked to be changed, and with what the asker wrote.
WITH_THE_RIGHTS_OF_ANOTHER = {"pull_request_target", "workflow_run", "issue_comment"}


def workflows(root: Path) -> dict[str, str]:
    """Path and text of each."""
    paths = [path for folder in FOLDERS for path in sorted((root / folder).glob("*.y*ml"))]
    return {str(path.relative_to(root)): path.read_text() for path in paths}


def pins(texts: dict[str, str]) -> list[str]:
    """A row for each action in each version."""
    found = [PINNED.fullmatch(uses["what"]) for text in texts.values() for uses in USES.finditer(text)]
    return sorted({f"| {pin['action']} | {pin['version']} | `{pin['commit']}` |" for pin in found if pin})


def complaints(root: Path) -> Iterator[str]:
    texts = workflows(root)
    for path, text in texts.items():
        yield from (f"{path}: {what}" for what in _of_a_workflow(text))
    contributing = (root / ".github/CONTRIBUTING.md").read_text()
    table = "".join(TABLE.findall(contributing)).splitlines()
    yield from (f".github/CONTRIBUTING.md: the table lacks {row}" for row in pins(texts) if row not in table)
    yield from (f".github/CONTRIBUTING.md: no workflow uses {row}" for row in table if row not in pins(texts))
    actions = [row.split(" | ")[0] for row in pins(texts)]
    yield from (f"{name} is pinned in two ways" for name in sorted(set(actions)) if actions.count(name) > 1)


def _of_a_workflow(text: str) -> Iterator[str]:
    for uses in USES.finditer(text):
        if not PINNED.fullmatch(uses["what"]):
            yield f"pin by a full commit, with its version in a comment: {uses['what']}"
    workflow = yaml.safe_load(text)
    if workflow.get("permissions") != {}:
        yield "say `permissions: {}` at the top, and at each job what it needs"
    if "concurrency" not in workflow:
        yield "say what happens when it is started twice (`concurrency`)"
    for trigger in sorted(WITH_THE_RIGHTS_OF_ANOTHER.intersection(workflow[True])):  # YAML 1.1 reads `on` as true
        yield f"is started by {trigger}"
    for name, job in workflow["jobs"].items():
        yield from (f"job {name}: {what}" for what in _of_a_job(job))


def _of_a_job(job: dict[str, Any]) -> Iterator[str]:
    for key in ("permissions", "timeout-minutes"):
        if key not in job:
            yield f"has no {key}"
    for step in job.get("steps", []):
        # What stands between the braces is pasted into the script before the shell reads it: `env` hands it over.
        if "${{" in step.get("run", ""):
            yield f"an expression in `run`: {step['run'].strip()}"
        checks_out = step.get("uses", "").startswith("actions/checkout@")
        if checks_out and step.get("with", {}).get("persist-credentials") is not False:
            yield "checkout leaves its token in the clone (`persist-credentials: false`)"


def write(root: Path) -> None:
    path = root / ".github/CONTRIBUTING.md"
    rows = "".join(f"{row}\n" for row in pins(workflows(root)))
    path.write_text(TABLE.sub(lambda _: rows, path.read_text(), count=1))


def main(root: Path = ROOT, *options: str) -> int:
    if "--write" in options:
        write(root)
    found = list(complaints(root))
    for complaint in found:
        print(complaint)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(ROOT, *sys.argv[1:]))
