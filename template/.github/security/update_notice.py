"""Opens an issue when the template has a newer version, with its changes and security fixes; one issue per version.

    TEMPLATE=https://… python3 .github/security/update_notice.py

It needs git and GitHub's gh. The address comes from the workflow, and no code of the template is run.
"""

import json
import os
import re
import subprocess
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FEATURES = "{{= features.items() | selectattr('1.enabled') | map('first') | join(' ') }}"
CONCERNS = re.compile(r"\*\(concerns: ([a-z_, ]+)\)\*$", re.MULTILINE)
TAG = re.compile(r"refs/tags/(v?\d+\.\d+\.\d+)$", re.MULTILINE)
TEXT = """This project was made from {current}. {fixes} of the security fixes below concern its answers.

Commit everything, then type:

    uvx copier update --defaults

Read `git diff`. The template's UPGRADING.md says what happens and how to resolve a conflict.

{changes}"""


def run(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{command[0]} failed: {done.stderr.strip()}")
    return done.stdout


def parse(text: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", text)[:3])


def changes(address: str, tag: str, current: str) -> str:
    """The changelog of the versions after the current one, the newest first."""
    with tempfile.TemporaryDirectory() as scratch:
        run("git", "clone", "--quiet", "--depth", "1", "--branch", tag, "--", address, f"{scratch}/template")
        sections = re.split(r"^(?=## \d)", Path(scratch, "template/CHANGELOG.md").read_text(), flags=re.MULTILINE)[1:]
    return "".join(section for section in sections if parse(section.splitlines()[0]) > parse(current))


def main() -> None:
    address = re.sub(r"^gh:(.+?)(?:\.git)?$", r"https://github.com/\1.git", os.environ["TEMPLATE"])
    named = re.search(r"^_commit: v?(\d+\.\d+\.\d+)", (ROOT / ".copier-answers.yml").read_text(), re.MULTILINE)
    if not named:
        raise SystemExit(".copier-answers.yml names no version of the template (_commit)")
    current = named[1]
    latest = max(TAG.findall(run("git", "ls-remote", "--tags", "--", address)), key=parse, default=current)
    if parse(latest) <= parse(current):
        return
    changed = changes(address, latest, current)
    concerned = {"every project", *FEATURES.split()}
    fixes = sum(not concerned.isdisjoint(names.split(", ")) for names in CONCERNS.findall(changed))
    title = f"Template {latest.removeprefix('v')}" + (": security fixes for this project" if fixes else " is available")
    known = json.loads(run("gh", "issue", "list", "--state", "open", "--limit", "200", "--json", "title"))
    if title not in [issue["title"] for issue in known]:
        text = TEXT.format(current=current, fixes=fixes or "None", changes=changed)
        run("gh", "issue", "create", "--title", title, "--body", text)


if __name__ == "__main__":
    main()
