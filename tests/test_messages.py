"""What Copier prints and what UPGRADING.md says to type can be typed, and leads to where it says."""

import re
from typing import Any

import jinja2
import pytest
import yaml
from jinja2.sandbox import SandboxedEnvironment

from tests.rendering import ROOT, Project, Template

CONFIGURATION: dict[str, Any] = yaml.safe_load((ROOT / "copier.yml").read_text())
GUIDE = (ROOT / "UPGRADING.md").read_text()
PROGRAMS = ("FASTAPI_ENV=", "cd", "chmod", "copier", "git", "python3", "uv", "uvx")
ON = {name: {"enabled": True} for name in ("jwt", "roles", "api_keys")}


def render(name: str, **values: Any) -> str:
    """A message, or the default of a question, as Copier renders it."""
    found = CONFIGURATION[name]
    options = CONFIGURATION["_envops"] | {"undefined": jinja2.StrictUndefined}
    environment = SandboxedEnvironment(**options, extensions=["jinja2_ansible_filters.AnsibleCoreFiltersExtension"])
    text = found if isinstance(found, str) else found["default"]
    return environment.from_string(text).render(features=ON, security_notices=[], **values)


def after_update(source: str) -> str:
    answers = {"_src_path": source, "_commit": "v0.9.0"}
    guides = render("guides", _copier_answers=answers)
    return render("_message_after_update", _copier_answers=answers, guides=guides, updated_from="v0.8.0")


@pytest.mark.parametrize(
    ("source", "address"),
    [
        ("https://git.example/us/template.git", "https://git.example/us/template/blob/v0.9.0/UPGRADING.md"),
        ("git+https://git.example/us/template", "https://git.example/us/template/blob/v0.9.0/UPGRADING.md"),
        ("gh:us/template", "https://github.com/us/template/blob/v0.9.0/UPGRADING.md"),
        ("git@git.example:us/template.git", "https://git.example/us/template/blob/v0.9.0/UPGRADING.md"),
        ("ssh://git@git.example/us/template.git", "https://git.example/us/template/blob/v0.9.0/UPGRADING.md"),
        ("/srv/template/", "/srv/template/UPGRADING.md"),
    ],
)
def test_the_message_after_an_update_gives_the_address_of_the_guide(source: str, address: str) -> None:
    assert f"how to resolve a conflict:\n{address}\n" in after_update(source)


@pytest.mark.slow
def test_the_first_command_after_an_update_says_that_there_is_no_conflict(template: Template) -> None:
    message = after_update("gh:us/template")
    commands = [line.strip() for line in message.splitlines() if line.startswith("  ")]

    assert 'or prints "No conflicts."' in message
    assert template.render().must("sh", "-c", commands[0]) == "No conflicts.\n"


def typed() -> list[str]:
    """Every command of the messages and of the guide: indented lines and blocks, and code in a sentence."""
    conf = {"dst_path": "/home/me/our project (new)"}
    messages = [
        render("_message_after_copy", project_name="Demo", _copier_conf=conf),
        render("_message_before_update"),
        after_update("gh:us/template"),
    ]
    lines = [line.strip() for text in messages for line in text.splitlines() if line.startswith("  ")]
    blocks = re.findall(r"^```console\n(.*?)^```$", GUIDE, re.MULTILINE | re.DOTALL)
    lines += [line for block in blocks for line in block.splitlines()]
    return lines + re.findall(r"`([^`\n]+ [^`\n]+)`", GUIDE)


COMMANDS = sorted({line for line in typed() if line.startswith(PROGRAMS)})


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_can_be_typed(command: str, template: Template) -> None:
    assert "\u2026" not in command
    assert not re.search(r"<[a-z ]+>", command), "a placeholder is a redirection"
    assert not re.search(r"\s#", command), "zsh takes a comment for arguments"
    Project(template.path).must("bash", "-n", "-c", command)


def test_commands_are_found() -> None:
    assert len(COMMANDS) >= 20
    assert "cd '/home/me/our project (new)'" in COMMANDS
