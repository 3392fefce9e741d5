"""Findings that somebody answers for until a day: .github/waivers.toml, as every scan reads it.

An entry that has expired fails the scans of its tool, whether they still find it or not: so nobody forgets one. One
that is not understood fails all of them.
"""

import sys
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parents[2]
FILE = ROOT / ".github/waivers.toml"
TOOLS = ("bandit", "kingfisher", "pip-audit", "zap", "zizmor")
FIELDS = ("id", "tool", "reason", "owner", "expires")
LONGEST = timedelta(days=90)
LONGEST_OF_OLD = timedelta(days=366)  # of a secret that no file holds any more: the commits that do cannot change


@dataclass(frozen=True)
class Waiver:
    id: str
    tool: str
    reason: str
    owner: str
    expires: date


class Finding(NamedTuple):
    id: str  # what a waiver names
    text: str
    old: bool = False  # in the history alone


def waived(tool: str, file: Path = FILE) -> dict[str, Waiver]:
    """The waivers of this tool, by what they waive. Raises: SystemExit with one line about the entry that is wrong."""
    if tool not in TOOLS:
        raise ValueError(f"no scan is called {tool}")
    today = datetime.now(UTC).date()
    found: dict[str, Waiver] = {}
    for waiver in _entries(file, today):
        if waiver.tool != tool:
            continue
        if waiver.expires < today:
            raise _refused(
                file, waiver.id, f"expired on {waiver.expires}: end the finding, or {waiver.owner} decides anew"
            )
        if waiver.id in found:
            raise _refused(file, waiver.id, "is there twice")
        found[waiver.id] = waiver
    return found


def conclude(tool: str, findings: Iterable[Finding]) -> int:
    """Say what was found and what is waived; 1 when something is left. Raises: SystemExit as `waived`, after that."""
    found, left = list(findings), 0
    try:
        waivers = waived(tool)
    except SystemExit:
        sys.stdout.writelines(f"{finding.text}  [{finding.id}]\n" for finding in found)
        raise
    for finding in found:
        waiver = waivers.get(finding.id)
        too_long = waiver is not None and not finding.old and waiver.expires > datetime.now(UTC).date() + LONGEST
        left += waiver is None or too_long
        sys.stdout.write(f"{finding.text}  [{finding.id}]{_said(waiver, too_long)}\n")
    unused = sorted(waivers.keys() - {finding.id for finding in found})
    sys.stdout.writelines(f"waived, and not found: {name}\n" for name in unused)
    sys.stdout.write(f"{tool}: {left or 'no'} finding{'' if left == 1 else 's'} without a waiver\n")
    return 1 if left else 0


def _said(waiver: Waiver | None, too_long: bool) -> str:
    if waiver is None:
        return ""
    if too_long:
        return f"  (its waiver may last {LONGEST.days} days, since a file still holds it)"
    return f"  (waived by {waiver.owner} until {waiver.expires})"


def _entries(file: Path, today: date) -> list[Waiver]:
    try:
        content = tomllib.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SystemExit(f"{file.name}: {error}") from None
    entries = content.pop("waiver", [])
    if content or not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise SystemExit(
            f"{file.name}: holds [[waiver]] entries and nothing else, not: {', '.join(content) or 'waiver'}"
        )
    return [_entry(file, entry, today) for entry in entries]


def _entry(file: Path, entry: dict[str, Any], today: date) -> Waiver:
    name = str(entry.get("id", "an entry without id"))
    unknown, missing = entry.keys() - set(FIELDS), [field for field in FIELDS if not entry.get(field)]
    if unknown or missing:
        problems = [f"unknown: {', '.join(sorted(unknown))}"] if unknown else []
        raise _refused(file, name, "; ".join(problems + ([f"missing: {', '.join(missing)}"] if missing else [])))
    if type(entry["expires"]) is not date:
        raise _refused(file, name, "expires is a day, without quotes, such as 2027-01-31")
    words = [field for field in FIELDS[:-1] if not isinstance(entry[field], str) or not entry[field].strip()]
    if words:
        raise _refused(file, name, f"is text: {', '.join(words)}")
    if entry["tool"] not in TOOLS:
        raise _refused(file, name, f"tool is one of {', '.join(TOOLS)}")
    longest = LONGEST_OF_OLD if entry["tool"] == "kingfisher" else LONGEST
    if entry["expires"] > today + longest:
        raise _refused(file, name, f"expires more than {longest.days} days ahead, after {today + longest}")
    return Waiver(**entry)


def _refused(file: Path, name: str, problem: str) -> SystemExit:
    return SystemExit(f"{file.name}, {name}: {problem}")


if __name__ == "__main__":
    for known in TOOLS:
        waived(known)
