"""What your code imports and this project leaves out stops every start with one line that says what to do."""

import pytest

from app.security.left_out import ANSWERS
from app.security.settings import CONFIGURATION_ERROR, ROOT
from tests.security.copied import Copy

MISSING = {answer: module for module, answer in ANSWERS.items() if not (ROOT / f"app/security/{module}.py").exists()}
CODE = "import math\n\nfrom app.security.{} import anything\n"


@pytest.fixture
def copy(tmp_path_factory: pytest.TempPathFactory) -> Copy:
    """This project without the protections that an answer may leave out, and with the owner's code that wants one."""
    return Copy(tmp_path_factory.mktemp("copy"))


def leave_out(copy: Copy, module: str) -> None:
    (copy.folder / f"app/security/{module}.py").unlink(missing_ok=True)
    (copy.folder / "app/api/__init__.py").write_text(CODE.format(module))


@pytest.mark.parametrize("module", ["roles", "api_keys", "sessions", "key_routes", "cors"])
def test_one_line_names_the_file_the_import_and_the_answer(copy: Copy, module: str) -> None:
    leave_out(copy, module)

    result = copy.run("app.api")

    assert result.returncode == CONFIGURATION_ERROR
    refusal = [line for line in result.stderr.splitlines() if line.startswith("  - ")]
    assert refusal == [
        f"  - app/api/__init__.py, line 3 imports app.security.{module}, which is left out here; "
        f"it comes with: uvx copier update --data {ANSWERS[module]}"
    ]
    assert "Traceback" not in result.stderr


def test_a_module_that_no_answer_brings_is_an_ordinary_error(copy: Copy) -> None:
    leave_out(copy, "rolse")

    result = copy.run("app.api")

    assert "ModuleNotFoundError: No module named 'app.security.rolse'" in result.stderr


def test_what_is_left_out_here_is_known_to_be(copy: Copy) -> None:
    for module in MISSING.values():  # one of each answer
        leave_out(copy, module)
        assert copy.run("app.api").returncode == CONFIGURATION_ERROR, module
