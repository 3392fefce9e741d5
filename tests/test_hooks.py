"""The checks that run before a commit, run here too, and bite."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from hooks import check_committed_files, check_questions_documented, check_release
from tests.rendering import ROOT

HOOKS: list[dict[str, Any]] = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"][0]["hooks"]


def test_hooks_are_local_and_take_their_versions_from_this_project() -> None:
    repositories = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]

    assert [repository["repo"] for repository in repositories] == ["local"]
    assert [hook["id"] for hook in HOOKS if not hook["entry"].startswith("uv run ")] == []


@pytest.mark.parametrize("command", [["check"], ["format", "--check"]], ids=["check", "format"])
def test_the_whole_repository_is_linted_and_formatted(command: list[str]) -> None:
    done = subprocess.run([sys.executable, "-m", "ruff", *command, "."], cwd=ROOT, capture_output=True, text=True)

    assert done.returncode == 0, done.stdout


def test_every_script_is_run_by_a_hook() -> None:
    scripts = [f"hooks/{path.name}" for path in (ROOT / "hooks").glob("check_*.py")]
    entries = " ".join(hook["entry"] for hook in HOOKS)

    assert scripts
    assert [script for script in scripts if script not in entries] == []


def test_every_question_is_documented(capsys: pytest.CaptureFixture[str]) -> None:
    assert check_questions_documented.main() == 0, capsys.readouterr().out


def test_a_question_without_a_row_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    configuration = {"_envops": {}, "old": {}, "new": {}, "slug": {"ask": False}, "features": {"when": False}}
    (tmp_path / "copier.yml").write_text(yaml.safe_dump(configuration))
    (tmp_path / "README.md").write_text("Of `new` we say nothing.\n\n| `old` | older than `new` |\n")

    assert check_questions_documented.main(tmp_path) == 1
    assert capsys.readouterr().out == "README.md: no table has a row for the question `new`\n"


def test_nothing_is_committed_that_belongs_to_one_machine(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(ROOT)

    assert check_committed_files.main(check_committed_files.committed()) == 0, capsys.readouterr().out


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("merged.py", "<" * 7 + " before updating\n"),
        ("merged.py", ">" * 7 + " after updating\n"),
        ("uv.lock", ""),
        ("poetry.lock", ""),
        ("package-lock.json", "{}"),
        ("main.py.rej", ""),
        ("pyproject.toml", "[[tool." + 'uv.index]]\nname = "ours"\n'),
        ("pyproject.toml", "index-url = " + '"https://packages.example.com/simple"\n'),
        ("requirements.txt", "--extra-index-url " + "https://packages.example.com/simple\n"),
        ("Dockerfile", "ENV UV_DEFAULT_" + "INDEX=https://packages.example.com/simple\n"),
        (".env.example", "PIP_INDEX_" + "URL=file:///packages\n"),
    ],
)
def test_what_belongs_to_one_machine_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, text: str
) -> None:
    path = tmp_path / name
    path.write_text(text)

    assert check_committed_files.main([path]) == 1
    assert str(path) in capsys.readouterr().out


def test_ordinary_files_are_let_through(tmp_path: Path) -> None:
    path = tmp_path / "README.md"
    path.write_text("A heading\n=======\n\nThe index url of our documents: see index.html.\n")

    assert check_committed_files.main([path]) == 0


def test_the_release_is_told_everywhere(capsys: pytest.CaptureFixture[str]) -> None:
    assert check_release.main() == 0, capsys.readouterr().out


CHANGELOG = """# Changelog

## 0.2.0 - 2027-01-01

### Security

- Keys of a disabled account no longer open anything. *(concerns: api_keys)*

## 0.1.0 - 2026-12-01
"""
NOTICE = "[{version: 0.2.0, fix: Keys of a disabled account no longer open anything., features: [api_keys]}]"


@pytest.fixture
def release(tmp_path: Path) -> Path:
    """A repository in which everything tells of the same release."""
    texts = {
        "CHANGELOG.md": CHANGELOG,
        "UPGRADING.md": "## Versions\n\n### 0.2.0\n\n### 0.1.0\n",
        "pyproject.toml": '[project]\nversion = "0.2.0"\n',
        "copier.yml": f'features: {{default: "{{api_keys: {{}}}}"}}\nsecurity_notices: {{default: "{NOTICE}"}}\n',
    }
    for name, text in texts.items():
        (tmp_path / name).write_text(text)
    return tmp_path


def test_a_release_that_is_told_alike_passes(release: Path) -> None:
    assert list(check_release.complaints(release)) == []


@pytest.mark.parametrize(
    ("name", "old", "new", "said"),
    [
        ("pyproject.toml", "0.2.0", "0.1.0", "pyproject.toml: says version 0.1.0"),
        ("UPGRADING.md", "### 0.2.0\n", "", "UPGRADING.md: tells of 0.1.0"),
        ("CHANGELOG.md", " *(concerns: api_keys)*", "", "CHANGELOG.md: end this line with"),
        ("CHANGELOG.md", "concerns: api_keys", "concerns: keys", "no feature is called keys"),
        ("copier.yml", "no longer open", "still open", "copier.yml: security_notices are not"),
        ("copier.yml", "features: [api_keys]", "features: []", "copier.yml: security_notices are not"),
    ],
)
def test_a_release_that_is_told_otherwise_is_named(release: Path, name: str, old: str, new: str, said: str) -> None:
    path = release / name
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))

    assert any(said in complaint for complaint in check_release.complaints(release))
