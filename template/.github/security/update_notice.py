"""Whether the template has a newer version, what it changes, and whether its security fixes concern this project.

    python3 .github/security/update_notice.py look > notice.md   # empty: nothing newer
    python3 .github/security/update_notice.py open notice.md     # an issue, unless there is one of this title

`look` runs Copier and git with no variable beyond those named here, so with no secret, and only for the address that
the workflow names. It needs nothing but Python, git and uv; `open` needs GitHub's own `gh`.
"""

import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
ANSWERS = ROOT / ".copier-answers.yml"
ANSWER = re.compile(r"\w+:(?: |$)")  # as Copier writes it: what follows is on the same line, or indented below
COPIER = "copier==9.19.1"
FEATURES = [
    # {% for name, feature in features.items() if feature.enabled %}
    "{{= name }}",
    # {% endfor %}
]
KNOWN = ("PATH", "HOME", "LANG", "TMPDIR", "SSL_CERT_FILE", "GIT_CONFIG_GLOBAL", "COPIER_SETTINGS_PATH")
UPDATE = "uvx copier update --defaults"
CONCERNS = re.compile(r"\*\(concerns: (?P<features>[a-z_, ]+)\)\*$")


def run(*command: str, folder: Path = ROOT) -> str:
    """What a program prints. Raises: SystemExit with what it complains of."""
    bare = {name: os.environ[name] for name in os.environ if name in KNOWN or name.startswith("UV_")}
    done = subprocess.run(command, cwd=folder, env=bare, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{command[0]} failed: {done.stderr.strip()}")
    return done.stdout


def named_source() -> str:
    """The template that the answers name. Raises: SystemExit where Copier, which reads YAML, could read another."""
    lines = [line for line in ANSWERS.read_text(encoding="utf-8").splitlines() if line.strip() and line[0] != "#"]
    odd = [line for line in lines if line[0] != " " and not ANSWER.match(line)]
    named = re.findall(r"^_src_path:(.*)(\n .*)?", "\n".join(lines), re.MULTILINE)
    if odd or len(named) != 1 or named[0][1]:
        place = f"at {odd[0][:80]!r}" if odd else "where it names the template"
        history = f"git log --patch {ANSWERS.name}"
        raise SystemExit(f"{ANSWERS.name} is not as Copier wrote it, {place}: {history} says who changed it")
    return str(named[0][0].strip().strip("'\""))


def source(expected: str) -> str:
    """Where the template is. Raises: SystemExit when the answers name another one than the workflow does."""
    if not expected or named_source() != expected:
        raise SystemExit(f"{ANSWERS.name} names another template than the workflow: look at who changed it")
    return re.sub(r"^gh:(.+?)(?:\.git)?$", r"https://github.com/\1.git", expected)


def newer() -> dict[str, Any] | None:
    """What Copier says of versions, if there is a newer one."""
    said: dict[str, Any] = json.loads(run("uvx", "--from", COPIER, "copier", "check-update", "--output-format", "json"))
    return said if said["update_available"] else None


def changelog(address: str, version: str) -> str:
    with tempfile.TemporaryDirectory() as scratch:
        tags = run("git", "ls-remote", "--tags", "--", address)
        tag = next(name for name in (f"v{version}", version) if f"refs/tags/{name}\n" in tags)
        clone = ("git", "clone", "--quiet", "--depth", "1", "--branch", tag)
        run(*clone, "--", address, f"{scratch}/template")
        return Path(scratch, "template/CHANGELOG.md").read_text()


def sections(text: str, current: str, latest: str) -> list[str]:
    """The sections of the versions after this project's, up to the latest; the newest first."""
    parts = re.split(r"^(?=## )", text, flags=re.MULTILINE)
    found = [(parse(match[1]), part) for part in parts if (match := re.match(r"## (\d+\.\d+\.\d+)\b", part))]
    return [part.strip() for version, part in found if parse(current) < version <= parse(latest)]


def parse(version: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", version)[:3])


def concerning(text: str) -> list[str]:
    """The security fixes that concern this project's answers."""
    found = []
    for line in text.splitlines():
        match = CONCERNS.search(line)
        if match and ({"every project", *FEATURES} & set(match["features"].split(", "))):
            found.append(line)
    return found


def notice(said: dict[str, Any], changed: list[str]) -> str:
    """The issue: its first line is the title."""
    fixes = concerning("\n".join(changed))
    concerned = "\n".join(["It is concerned by these security fixes:", "", *fixes]) if fixes else ""
    lines = [
        f"Template {said['latest_version']}" + (": security fixes for this project" if fixes else " is here"),
        f"This project was made from {said['current_version']}. "
        + (concerned or "None of the security fixes concerns its answers."),
        f"With everything committed, type:\n\n    {UPDATE}\n",
        "Then read `git diff`; UPGRADING.md of the template says what happens and how to decide a conflict.",
        *changed,
    ]
    return "\n\n".join(lines) + "\n"


def look() -> None:
    address, said = source(os.environ.get("TEMPLATE", "")), newer()
    if said is not None:
        changed = sections(changelog(address, said["latest_version"]), said["current_version"], said["latest_version"])
        sys.stdout.write(notice(said, changed))


def open_issue(path: Path) -> None:
    title, _, body = path.read_text().partition("\n")
    if not title:
        return
    listed = subprocess.run(
        ["gh", "issue", "list", "--state", "open", "--limit", "200", "--json", "title"],
        check=True,
        capture_output=True,
        text=True,
    )
    if title not in [issue["title"] for issue in json.loads(listed.stdout)]:
        subprocess.run(["gh", "issue", "create", "--title", title, "--body", body.strip()], check=True)


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["look"]:
            look()
        case ["open", name]:
            open_issue(Path(name))
        case _:
            raise SystemExit(__doc__)
