"""The tutorial: every command is typed into a terminal, in its order, and every file is written. The rest is prose."""

import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.generated_text import compare_part
from tests.rendering import ROOT, Project, Template
from tests.terminal import COLUMNS, Terminal
from tests.test_how_to import Block, write
from tests.test_real_server import free_port
from tests.variants import QUESTIONS

TUTORIAL = ROOT / "docs/tutorial/README.md"
ADDRESS = "https://github.com/OWNER/copier-fastapi-secure"
STEP = re.compile(r'^```(?P<kind>console|\w+ title="(?P<file>[^"]+)")\n(?P<code>.*?)^```$', re.MULTILINE | re.DOTALL)
SECTIONS = re.split(r"^## ", TUTORIAL.read_text(), flags=re.MULTILINE)[1:]
PASSWORD = "correct staple 7 battery horse"
CHANGING = {  # what differs from run to run, and what the transcript shows instead
    r"\b[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\b": "0b7d2b1e-5f0a-4c3e-9d43-6c1f9a1f6d0e",
    r"\b20\d\d-\d\d-\d\d\b": "2027-03-01",
    r"^\[1\] \d+": "[1] 4242",
    r"(    create  .*\n)+": "    create  …\n",
    r"version \S+": "version 0.2.0",
    r" --port \d+": "",
    r"127\.0\.0\.1:\d+": "127.0.0.1:8000",
    r"^/tmp\S+": "~",
    r"cd '?/\S+/order-service'?": "cd ~/order-service",
}


def commands(section: str) -> list[str]:
    return [line for found in STEP.finditer(section) if not found["file"] for line in found["code"].splitlines()]


def blocks(section: str) -> list[Block]:
    return [Block(found["file"], found["code"]) for found in STEP.finditer(section) if found["file"]]


def test_few_lines_lead_to_a_response_and_to_a_route_of_ones_own() -> None:
    copy, call, route = SECTIONS[:3]
    written = [line for block in blocks(route) for line in block.code.splitlines() if line.strip()]

    assert len(commands(copy)) == 1
    assert len(commands(call)) <= 4
    assert len(written) + len(commands(route)) <= 12 + len(["from app.api import hello"])  # an edit of a line


README = (ROOT / "README.md").read_text()
ELSEWHERE = {  # commands of README.md, and what runs them
    'pip install uv && uvx copier copy -r HEAD "$PWD" ../order-service && cd ../order-service && uv run fastapi dev': (
        "the same, with the answers typed by test_every_line_of_the_tutorial_can_be_typed"
    ),
    "pip install uv && uv run pytest": ".ci/run",
}


def test_the_readme_is_one_screen_after_another_of_what_the_tutorial_runs() -> None:
    typed = {line for section in SECTIONS for line in commands(section)} | ELSEWHERE.keys()
    code = [found["code"] for found in re.finditer(r"^```python\n(?P<code>.*?)^```$", README, re.MULTILINE | re.DOTALL)]

    assert len(README.splitlines()) <= 150
    assert set(commands(README)) <= typed
    assert code == [blocks(SECTIONS[2])[0].code]
    for link in re.findall(r"\]\((?!https?:|#)([^)#]+)", README):
        assert (ROOT / link).exists(), link


class Shell:
    """bash in a terminal; `uvx copier` and `manage` are those of the tests, and the template is the working tree."""

    def __init__(self, template: Template, folder: Path) -> None:
        assert template.environment is not None
        self.port = free_port()
        self.template = template
        self.project = Project(folder / "order-service", template.environment)
        shims = {
            "uvx": f'shift; exec {sys.executable} -m copier "$@"',
            "manage": 'exec python -m app.manage "$@"',
        }
        (folder / "bin").mkdir()
        for name, body in shims.items():
            (folder / "bin" / name).write_text(f"#!/bin/sh\n{body}\n")
            (folder / "bin" / name).chmod(0o755)
        known = template.environment.variables()
        variables = known | {"PATH": f"{folder / 'bin'}:{known['PATH']}", "UV_NO_SYNC": "1", "PS1": "$ "}
        self.terminal = Terminal("bash", "--norc", "--noprofile", cwd=folder, **variables)
        self.prompts = 0
        self._wait()

    def type(self, line: str) -> None:
        """Type a line of the tutorial, answer what it asks, and wait for the next prompt."""
        line = line.replace(ADDRESS, str(self.template.path)).replace(":8000", f":{self.port}")
        self.terminal.type(line.replace("fastapi dev", f"fastapi dev --port {self.port}") + "\r")
        if "uvx copier copy" in line:
            for name, question in QUESTIONS.items():
                self.terminal.shows(re.sub(r"\{\{=.*?\}\}", "", question["help"]))
                self.terminal.type("Order Service\r" if name == "project_name" else "\r")
        if "users create" in line:
            for prompt in ("Password (", "Repeat it:"):
                self.terminal.shows(prompt)
                self.terminal.type(f"{PASSWORD}\r")
        self._wait()

    def succeeded(self) -> None:
        self.type("echo exit=$?")
        assert "\nexit=0\n" in self.terminal.transcript()[-400:], self.terminal.transcript()[-3000:]

    def _wait(self) -> None:
        self.prompts += 1
        self.terminal.until(lambda: len(re.findall(r"^\$", self.terminal.transcript(), re.MULTILINE)) >= self.prompts)


@pytest.fixture
def shell(runnable: Template, tmp_path: Path) -> Iterator[Shell]:
    shell = Shell(runnable, tmp_path)
    with shell.terminal:
        yield shell
        shell.type("kill %1; wait")


def transcript(text: str, template: Template) -> str:
    """What was seen, with long lines in one piece, and without what differs from run to run."""
    joined = "".join(line if len(line) == COLUMNS else f"{line}\n" for line in text.splitlines())
    for pattern, replacement in CHANGING.items():
        joined = re.sub(pattern, replacement, joined, flags=re.MULTILINE)
    joined = joined.replace(str(template.path), ADDRESS).removesuffix("$\n")
    return "\n".join(
        line[at : at + COLUMNS] for line in joined.splitlines() for at in range(0, len(line) or 1, COLUMNS)
    )


@pytest.mark.nightly
def test_every_line_of_the_tutorial_can_be_typed(shell: Shell) -> None:
    for number, section in enumerate(SECTIONS):
        for block in blocks(section):
            write(shell.project, block)
        for line in commands(section):
            shell.type(line)
            if number > 1:
                shell.succeeded()
        if number == 1:
            seen = transcript(shell.terminal.transcript(), shell.template)
            assert "\n[] 200" in seen
            compare_part(TUTORIAL, "transcript", f"```text\n{seen}\n```\n")
