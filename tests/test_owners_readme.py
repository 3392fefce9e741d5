"""The README of a generated project: what it says to type and to write is typed and written, in its order."""

import re
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.rendering import ROOT, Project, Template
from tests.test_how_to import write
from tests.test_real_server import PASSWORD, served
from tests.test_tutorial import STEP, Block
from tests.variants import MAIN, Answers

SERVE = "uv run fastapi dev"
INLINE = re.compile(r"`((?:FASTAPI_ENV=\w+ )?uvx? [^`]+)`")
STATUS = {  # on a machine without .env, or without production's settings
    "FASTAPI_ENV=development uv run manage doctor": 1,
    "uv run manage doctor": 1,
    "uv run manage serve": 78,
}
ELSEWHERE = {  # commands that other tests run
    "uv run pytest": "test_suites.py",
    'uv run pytest -m ""': "test_suites.py",
    "uvx copier update --defaults": "test_updates.py",
    "uvx copier update --defaults --data audit_log=false": "test_updates.py",
    "uvx copier update --defaults --data audit_log=true": "test_updates.py",
}
each_main = pytest.mark.parametrize("answers", MAIN.values(), ids=list(MAIN))


class FirstDay:
    """A shell in a fresh clone, which has no `.env`, and a second one once the service runs."""

    def __init__(self, service: Project, tools: Path, running: ExitStack) -> None:
        self.service, self.running = service, running
        self.address = "http://127.0.0.1:8000"
        service.file(".env").unlink()
        service.commit()
        tools.mkdir()
        (tools / "manage").write_text('#!/bin/sh\nexec python -m app.manage "$@"\n')
        (tools / "manage").chmod(0o755)
        assert service.environment
        known = service.environment.variables()
        self.variables = known | {"PATH": f"{tools}:{known['PATH']}", "UV_NO_SYNC": "1"}

    def type(self, lines: list[str]) -> str:
        """Lines of one shell. The password is typed where it is asked for."""
        if lines[-1] == SERVE:
            command = SERVE.removeprefix("uv run ").split()
            printed = self._run(lines[:-1])
            self.address = self.running.enter_context(served(self.service, *command))
            return printed
        return self._run(lines)

    def _run(self, lines: list[str]) -> str:
        script = "\n".join(lines).replace("http://127.0.0.1:8000", self.address)
        done = subprocess.run(
            ["bash", "-ec", script],
            cwd=self.service.path,
            env=self.variables,
            input=f"{PASSWORD}\n" * 2,
            capture_output=True,
            text=True,
        )
        assert done.returncode == STATUS.get(lines[0], 0), f"{script}\n{done.stdout}\n{done.stderr}"
        return done.stdout


def steps(section: str) -> Iterator[Block | list[str]]:
    """A file to write, or the lines of one shell; then the commands in its sentences."""
    for found in STEP.finditer(section):
        lines = [line for line in found["code"].splitlines() if line not in ELSEWHERE]
        yield Block(found["file"], found["code"]) if found["file"] else lines
    for command in INLINE.findall(STEP.sub("", section)):
        if command not in ELSEWHERE:
            yield [command]


@each_main
def test_it_is_read_in_a_few_minutes_and_every_block_has_a_kind_that_is_run(
    template: Template, answers: Answers
) -> None:
    text = template.render(**answers).read("README.md")
    start = next(found["code"] for found in STEP.finditer(text)).splitlines()

    assert len(text.splitlines()) <= 120
    assert len(start) <= 4
    assert start[-1] == SERVE
    assert len(re.findall("^```", text, re.MULTILINE)) == 2 * len(STEP.findall(text))


@each_main
def test_what_it_refers_to_is_there(template: Template, answers: Answers) -> None:
    project = template.render(**answers)
    named = re.findall(r"`((?:\.?\w[\w-]*/)*[\w-]*\.\w+)`|`((?:\w+/)+)`", project.read("README.md"))

    files = {name for one in named for name in one if name} - {"uv.lock"}
    assert {name for name in files if not project.file(name).exists()} == set()
    assert "docs/security/operations.md" in files


@pytest.mark.nightly
@each_main
def test_the_first_day_is_as_it_says(
    project: Callable[..., Project], runnable: Template, tmp_path: Path, answers: Answers
) -> None:
    service = project(**answers)
    text = service.read("README.md")
    with ExitStack() as running:
        day = FirstDay(service, tmp_path / "tools", running)
        for section in text.split("\n## ")[1:]:
            printed = ""
            if section.startswith("When it does not start"):
                service.file(".env").unlink()
            for step in steps(section):
                if isinstance(step, Block):
                    write(service, step)
                else:
                    printed += day.type(step)
            if section.startswith("Call it"):
                assert ('"access_token"' in printed) == bool(answers["jwt"])
                assert ("[]" in printed) == bool(answers["api_keys"])
            if section.startswith("When it does not start"):
                assert "Problem: SECRET_KEY: is missing" in printed

    service.must("ruff", "check", "--fix-only", "--select", "I", "app/main.py")
    service.must("ruff", "check", "app", "tests")
    service.must("python", "-m", "mypy", "-p", "app", MYPY_CACHE_DIR=str(runnable.scratch / "mypy"))
    declarations = re.findall(r"^\| [^|]+ \| `([^|]+)` \| `(\w+)` \|$", text, re.MULTILINE)
    assert len(declarations) >= 4
    lines = [f"import app.security.{name} as {name}; eval({code!r}, vars({name}))" for code, name in declarations]
    service.must("python", "-c", "\n".join(lines))


def test_the_refusals_that_it_explains_are_those_of_the_code() -> None:
    table = (ROOT / "template/README.md").read_text().partition("| It says |")[2]
    code = "".join(path.read_text() for path in sorted((ROOT / "template/app/security").rglob("*.py")))
    words = [cell.partition(": ")[2] or cell for cell in re.findall(r"^\| `([^`]+)` \|", table, re.MULTILINE)]

    assert len(words) >= 3
    assert [one for one in words if one not in code] == []
