"""How many harmless requests the web application firewall refuses, and how many attacks it stops.

`uv run python -m tests.waf_figures RULES [CRS]` prints the table of docs/security/waf.md for the rules in folder RULES
(deploy/waf of a project in which `manage waf` ran), with Debian's CRS or with that in a folder of your own.
"""

import re
import sys
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.waf_engine import DEBIAN, Crs, Engine, lay_out
from tests.waf_requests import ATTACKS, REFUSED_BY_THE_APP, Sent, harmless

FREE_TEXT = re.compile(r",\\\s+ctl:ruleRemoveTargetByTag=OWASP_CRS;ARGS:json\.body,\\\s+ctl:\S+;REQUEST_BODY")
OUR_RULES = re.compile(r"# What this service serves.*?(?=# Exemptions hold)", re.DOTALL)
# CRS alone, our rules with an app that declares no free text, and with the one that declares it.
KINDS = ("CRS alone", "no free text", "free text declared")


def engines(waf: Path, scratch: Path, crs: Crs = DEBIAN) -> dict[str, Engine]:
    mains = {kind: lay_out(scratch / kind.replace(" ", "-"), waf, crs) for kind in KINDS}
    _edit(mains["CRS alone"], OUR_RULES)
    _edit(mains["no free text"].with_name("app.conf"), FREE_TEXT)
    return {kind: Engine(main) for kind, main in mains.items()}


def _edit(path: Path, removed: re.Pattern[str]) -> None:
    text, found = removed.subn("", path.read_text())
    assert found
    path.unlink()  # a link to the project's own
    path.write_text(text)


def refused(engine: Engine, requests: Iterable[Sent]) -> list[Sent]:
    return [sent for sent in requests if engine.status(sent)]


def table(by_kind: dict[str, Engine]) -> list[str]:
    """One row for each kind of request: how many are refused."""
    groups = {"harmless": harmless(), "refused by the app, too": REFUSED_BY_THE_APP, "**attacks**": ATTACKS}
    totals = {name: len(group) for name, group in groups.items()} | Counter(sent.kind for sent in groups["harmless"])
    rows: dict[str, list[int]] = {name: [] for name in totals}
    for engine in by_kind.values():
        found = {name: refused(engine, group) for name, group in groups.items()}
        kinds = Counter(sent.kind for sent in found["harmless"])
        for name, row in rows.items():
            row.append(len(found[name]) if name in found else kinds[name])
    return [f"| {name} ({totals[name]}) | {' | '.join(map(str, row))} |" for name, row in rows.items()]


if __name__ == "__main__":
    crs = (
        Crs(Path(sys.argv[2]) / "crs-setup.conf.example", Path(sys.argv[2]) / "rules") if len(sys.argv) > 2 else DEBIAN
    )
    with TemporaryDirectory() as scratch:
        print("\n".join(table(engines(Path(sys.argv[1]), Path(scratch), crs))))  # noqa: T201
