"""Prompts and next steps as they are typed and read in a terminal of 80 columns and 24 lines."""

import re
from pathlib import Path

import copier as library
import pytest
import yaml

from tests.rendering import NAME, ROOT, Project, Template
from tests.terminal import COLUMNS, LINES, copier
from tests.variants import QUESTIONS

DOWN, BACKSPACE = "\x1b[B", "\x7f"
REFUSED = {  # typed at a text prompt, and what its line has to show
    "project_name": {
        "": "Type a name",
        "1x": "Type a letter first",
        "x#": "Type letters, digits, space, .",
        "x ": "space",
    },
    "cors_origins": {"http://a.example": "Type https://name", "*": 'no "*"', "https://a.example/": "Type https://name"},
    "roles": {"user": 'Add "admin"', "User, admin": "Type names of a-z", "admin, admin": "Name each role once"},
}


def _hint(question: str) -> str:
    """The question as it is printed, without "New: "."""
    return re.sub(r"\{\{=.*?\}\}", "", str(QUESTIONS[question]["help"]))


@pytest.mark.parametrize("question", QUESTIONS)
def test_a_question_is_one_line_of_a_terminal(question: str) -> None:
    new = "New: " if "{{=" in QUESTIONS[question]["help"] else ""

    assert len(new + _hint(question)) <= 76, "the prompt has a sign of two columns and a space before it"


@pytest.mark.parametrize("question", [name for name, asked in QUESTIONS.items() if asked["type"] == "bool"])
def test_an_enter_after_an_answer_cannot_answer_the_next_question(question: str) -> None:
    """A yes/no prompt is answered by the first key; a list of two waits for Enter."""
    assert sorted(QUESTIONS[question]["choices"].values()) == [False, True]
    assert all(len(choice) <= COLUMNS - 4 for choice in QUESTIONS[question]["choices"])
    assert QUESTIONS[question]["default"] is True or question == "deploy"  # which is no where a deploy/ has files


def test_prompts_say_what_is_wrong_and_take_one_enter_each(template: Template, tmp_path: Path) -> None:
    chosen = {"project_name": "Order", "cors_origins": "https://a.example", "roles": "admin"}
    arguments = ("copy", "--vcs-ref", template.version, str(template.path), "new [1]")
    with copier(*arguments, cwd=tmp_path) as terminal:
        for question in QUESTIONS:
            assert terminal.shows(_hint(question)) == _hint(question)
            if question in chosen:
                terminal.type(BACKSPACE * len(QUESTIONS[question].get("default", "")))
            for wrong, cause in REFUSED.get(question, {}).items():
                terminal.type(f"{wrong}\r")
                terminal.shows(cause)
                assert cause in terminal.screen().partition(f"'{question}': ")[2].splitlines()[0][:34]
                terminal.type(BACKSPACE * len(wrong))
            terminal.type(f"{chosen[question]}\r" if question in chosen else "y\r")
        assert terminal.ends() == 0
        last = terminal.screen()

    project = Project(tmp_path / "new [1]")
    project.commit()
    assert "SECRET_KEY=" in project.read(".env")
    assert ".env" not in project.must("git", "ls-files").split()
    answers = {name: project.answers()[name] for name in QUESTIONS}
    assert answers == dict.fromkeys(QUESTIONS, True) | chosen
    assert "create  " in last, "the next steps fit on one screen"
    assert "Order is ready." in last
    assert "git check-ignore .env && " in last
    assert "Every day: uv run pytest" in last


def test_without_logins_nobody_is_asked_for_roles_and_programs_have_keys(template: Template, tmp_path: Path) -> None:
    """Copier runs no validators on lists: "no" to both ways to authenticate must be impossible. At an update, too."""
    off = [name for name in QUESTIONS if QUESTIONS[name]["type"] == "bool"]
    arguments = ("copy", "--vcs-ref", template.version, "--data", "project_name=Order", str(template.path), "new")
    waiting = {_hint(name): f"{DOWN}\r" if name in off else "\r" for name in QUESTIONS if name != "project_name"}
    never = [_hint("roles"), _hint("api_keys")]
    with copier(*arguments, cwd=tmp_path) as terminal:
        while (found := terminal.shows(*waiting, "<end>")) != "<end>":
            terminal.type(waiting.pop(found))
        assert terminal.ends() == 0

    project = Project(tmp_path / "new")
    assert list(waiting) == never
    assert project.file("app/security/keys/__init__.py").is_file()
    assert not project.file("app/security/authentication/__init__.py").exists()
    assert not {"roles", "api_keys"} & project.answers().keys()
    project.commit()
    template.update(project)
    assert project.must("git", "status", "--porcelain") == ""


@pytest.mark.nightly
def test_an_update_shows_old_answers_and_marks_questions_that_are_new(template: Template, tmp_path: Path) -> None:
    project = template.at("v0.2.0").copy(tmp_path / "project", audit_log=False)
    known = project.answers()
    project.commit()

    seen = {}
    with copier("update", "--vcs-ref", template.version, cwd=project.path) as terminal:
        for question in QUESTIONS:
            terminal.shows(_hint(question))
            seen[question] = terminal.screen().partition(_hint(question))
            terminal.type("\r")
        assert terminal.ends() == 0
        last = terminal.screen()

    new = [question for question, (before, _, _) in seen.items() if before.endswith("New: ")]
    assert new == [question for question in QUESTIONS if question not in known]
    assert f"» {_choice('audit_log', answer=False)}" in seen["audit_log"][2]
    assert {name: project.answers()[name] for name in known if name in QUESTIONS} == {
        name: known[name] for name in known if name in QUESTIONS
    }
    assert len(last.splitlines()) <= LINES
    assert "python3 app/security/conflicts.py" in last


def _choice(question: str, *, answer: bool) -> str:
    return next(words for words, value in QUESTIONS[question]["choices"].items() if value is answer)


def test_a_service_over_an_existing_repository_cannot_commit_its_secrets(template: Template, tmp_path: Path) -> None:
    project = Project(tmp_path / "existing")
    project.write(".gitignore", "*.log\n")
    project.commit()

    library.run_copy(
        str(template.path), project.path, data={"project_name": NAME}, defaults=True, quiet=True,
        vcs_ref=template.version, skip_if_exists=[".gitignore"],
    )  # fmt: skip

    assert project.read(".gitignore") == "*.log\n"
    assert not project.file(".env").exists()
    assert project.run("git", "check-ignore", ".env").returncode == 1, "the chain of the next steps ends here"
    project.append(".gitignore", ".env\n")
    assert project.must("git", "check-ignore", ".env") == ".env\n"


def test_the_table_of_questions_is_in_the_order_of_the_prompts() -> None:
    rows = re.findall(r"^\| `(\w+)` \|", (ROOT / "README.md").read_text(), re.MULTILINE)

    assert rows == list(QUESTIONS)
    assert yaml.safe_load((ROOT / "copier.yml").read_text())["roles"]["when"] == "{{= jwt }}"
