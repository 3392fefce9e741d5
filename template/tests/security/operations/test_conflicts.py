"""What an update left unresolved is named wherever somebody could go on with it."""

import subprocess
import sys

import pytest

from tests.security.project_copy import Copy

LEFT = "x = 1\n<<<<<<< before updating\nx = 2\n=======\nx = 3\n>>>>>>> after updating\n"
CHECK = "app/security/conflicts.py"


@pytest.fixture
def copy(tmp_path_factory: pytest.TempPathFactory) -> Copy:
    return Copy(tmp_path_factory.mktemp("copy"))


def check(copy: Copy, *files: str) -> tuple[int, list[str]]:
    """As hooks and CI do it, with any Python and nothing installed: its exit code, and the places that it names."""
    code, printed = printed_by(copy, *files)
    return code, printed.partition("\n\n")[0].splitlines()


def printed_by(copy: Copy, *files: str) -> tuple[int, str]:
    command = [sys.executable, "-I", str(copy.folder / CHECK), *files]
    done = subprocess.run(command, cwd=copy.folder, capture_output=True, text=True)
    assert done.stderr == ""
    return done.returncode, done.stdout


def test_nothing_is_found_where_nothing_was_left(copy: Copy) -> None:
    assert check(copy) == (0, [])


@pytest.mark.parametrize("name", ["app/main.py", "pyproject.toml", ".env.example", "app/security/tokens_of_yours.py"])
def test_both_ends_of_a_conflict_are_named(copy: Copy, name: str) -> None:
    (copy.folder / name).write_text(LEFT)

    places = [f"{name}, line 2: a conflict of an update", f"{name}, line 6: a conflict of an update"]
    assert check(copy) == (1, places)
    assert check(copy, name) == (1, places)


def test_what_found_no_place_is_named(copy: Copy) -> None:
    (copy.folder / "app/main.py.rej").write_text("@@ -1 +1 @@")

    assert check(copy) == (1, ["app/main.py.rej: changes of an update that found no place"])


def test_what_to_do_is_said_wherever_something_was_left_and_nowhere_else(copy: Copy) -> None:
    assert printed_by(copy) == (0, "")
    (copy.folder / "app/database.py").write_text(LEFT)

    said = [printed_by(copy)[1], copy.run("app.manage").stderr]

    for words in ("Write the lines that do", "`git add` the file", "git reset --hard"):
        assert [words in text for text in said] == [True, True], words


def test_a_line_of_equals_signs_is_a_heading(copy: Copy) -> None:
    (copy.folder / "README.md").write_text("Heading\n=======\n\n    <<<<<<< before updating\n")

    assert check(copy) == (0, [])


@pytest.mark.parametrize(
    ("command", "name"),
    [("app.manage", "app/security/cli.py"), ("app.manage", "app/database.py"), ("uvicorn", "app/security/settings.py")],
)
def test_nothing_starts_and_the_places_are_said(copy: Copy, command: str, name: str) -> None:
    (copy.folder / name).write_text(LEFT)

    done = copy.run(command, *(["app.main:app"] if command == "uvicorn" else []))

    assert done.returncode == 1
    assert f"{name}, line 2: a conflict of an update" in done.stderr
    assert "Traceback" not in done.stderr
