"""Every question of copier.yml has a row of its own in a table of README.md, which starts with the question's name."""

import sys
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[1]


def asked(configuration: dict[str, Any]) -> list[str]:
    """The questions that somebody is asked: not the settings, nor what is computed from other answers."""
    return [
        name
        for name, question in configuration.items()
        if not name.startswith("_") and question.get("when") is not False and question.get("ask") is not False
    ]


def undocumented(configuration: dict[str, Any], readme: str) -> list[str]:
    rows = readme.splitlines()
    return [name for name in asked(configuration) if not any(row.startswith(f"| `{name}` |") for row in rows)]


def main(root: Path = ROOT) -> int:
    configuration = yaml.safe_load((root / "copier.yml").read_text())
    missing = undocumented(configuration, (root / "README.md").read_text())
    for name in missing:
        print(f"README.md: no table has a row for the question `{name}`")
    return 1 if missing else 0


if __name__ == "__main__":
    sys.exit(main())
