"""What scans share: how a tool is run, and waivers: findings that an owner accepts until a date.

They are in .github/waivers.toml, and an invalid file fails every scan. An expired waiver fails the scans of its tool,
even if they no longer find it.
"""

import re
import subprocess
import sys
import tomllib
from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Annotated, Literal, NamedTuple, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

ROOT = Path(__file__).resolve().parents[2]
FILE = ROOT / ".github/waivers.toml"
Tool = Literal["bandit", "kingfisher", "pip-audit", "zap", "zizmor"]
LONGEST = {"kingfisher": timedelta(days=366)}  # a commit cannot be changed: its secret is found for ever
LONGEST_OF_OTHERS = timedelta(days=90)
Text = Annotated[str, Field(min_length=1)]
# Where in a tool an error arose, as Rust and as Python print it: before or after what the error is.
TRACE = re.compile(r"Stack backtrace:.*|Traceback \(most recent call last\):.*\n(?=\w)", re.DOTALL)


class Waiver(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, str_strip_whitespace=True)

    id: Text
    tool: Tool
    reason: Text
    owner: Text
    expires: date

    @model_validator(mode="after")
    def _ends(self) -> "Waiver":
        longest = LONGEST.get(self.tool, LONGEST_OF_OTHERS)
        if self.expires > datetime.now(UTC).date() + longest:
            raise ValueError(f"{self.id} expires more than {longest.days} days ahead")
        return self


class Waivers(BaseModel):
    model_config = ConfigDict(extra="forbid")

    waiver: list[Waiver] = []


class Finding(NamedTuple):
    id: str  # what a waiver names
    text: str


def run(failure: str, *command: str, found: int = 0) -> str:
    """What a program prints. Raises: SystemExit, unless its exit code is 0, or is `found` and something was printed."""
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if done.returncode and (done.returncode != found or not done.stdout):
        raise SystemExit(f"{failure}: {TRACE.sub('', done.stderr).strip()}")
    return done.stdout


def waived(tool: Tool, file: Path = FILE) -> dict[str, Waiver]:
    """The waivers of this tool by id. Raises: SystemExit with one line for an invalid file or an expired waiver."""
    try:
        content = tomllib.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
        waivers = [waiver for waiver in Waivers.model_validate(content).waiver if waiver.tool == tool]
    except ValidationError as error:
        first = error.errors()[0]
        raise SystemExit(f"{file.name}: {'.'.join(map(str, first['loc']))}: {first['msg']}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SystemExit(f"{file.name}: {error}") from None
    for waiver in waivers:
        if waiver.expires < datetime.now(UTC).date():
            raise SystemExit(
                f"{file.name}: {waiver.id} expired on {waiver.expires}: fix it, or {waiver.owner} renews it"
            )
    return {waiver.id: waiver for waiver in waivers}


def conclude(tool: Tool, findings: Iterable[Finding]) -> int:
    """Print the findings and which are waived; the exit code. Raises: SystemExit as `waived`, after printing."""
    found = list(findings)
    waivers: dict[str, Waiver] = {}
    try:
        waivers = waived(tool)
    finally:
        for finding in found:
            waiver = waivers.get(finding.id)
            accepted = f"  (waived by {waiver.owner} until {waiver.expires})" if waiver else ""
            sys.stdout.write(f"{finding.text}  [{finding.id}]{accepted}\n")
    unused = sorted(waivers.keys() - {finding.id for finding in found})
    sys.stdout.writelines(f"waived, but not found: {name}\n" for name in unused)
    left = sum(finding.id not in waivers for finding in found)
    sys.stdout.write(f"{tool}: {left or 'no'} finding{'' if left == 1 else 's'} without a waiver\n")
    return 1 if left else 0


if __name__ == "__main__":
    for known in get_args(Tool):
        waived(known)
