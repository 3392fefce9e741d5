"""Bandit finds nothing in a generated project, and nothing is hidden from it without its rule being named."""

import re
from collections.abc import Callable

import pytest

from tests.rendering import Project, Template
from tests.variants import RUN_THEIR_SUITE

variants = pytest.mark.parametrize("variant", RUN_THEIR_SUITE)


@pytest.fixture
def rendered(template: Template) -> Callable[[str], Project]:
    return lambda variant: template.render(**RUN_THEIR_SUITE[variant])


@variants
def test_it_has_no_finding_of_any_severity(rendered: Callable[[str], Project], variant: str) -> None:
    done = rendered(variant).run("bandit", "--quiet", "--recursive", "app", "migrations")

    assert done.returncode == 0, done.stdout


@variants
def test_nothing_is_hidden_without_the_name_of_its_rule(rendered: Callable[[str], Project], variant: str) -> None:
    texts = {name: text.decode() for name, text in rendered(variant).files().items() if name.endswith(".py")}

    bare = [name for name, text in texts.items() if re.search(r"#\s*nosec\b(?! B\d{3})", text)]

    assert bare == []


def test_bandit_would_find_something(rendered: Callable[[str], Project], runnable: Template) -> None:
    project = runnable.copy_of(rendered("all"), runnable.scratch / "with-a-finding")
    project.write("app/api/shell.py", "import subprocess\n\nsubprocess.run('ls', shell=True)\n")

    assert project.run("bandit", "--quiet", "--recursive", "app").returncode == 1
