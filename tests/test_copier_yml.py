"""copier.yml says only what Copier knows: it ignores a misspelt key without a word."""

import re
from typing import Any

import pytest
import yaml

from tests.rendering import LEFT_BY_RUNNING, ROOT, TEMPLATE

TEXT = (ROOT / "copier.yml").read_text()
CONFIGURATION: dict[str, Any] = yaml.safe_load(TEXT)
SETTINGS = {name: value for name, value in CONFIGURATION.items() if name.startswith("_")}
QUESTIONS = {name: value for name, value in CONFIGURATION.items() if not name.startswith("_")}
ASKED = {name: question for name, question in QUESTIONS.items() if question.get("when") is not False}
COMPUTED = QUESTIONS.keys() - ASKED.keys()

KNOWN_SETTINGS = {
    "_subdirectory",
    "_min_copier_version",
    "_templates_suffix",
    "_envops",
    "_skip_if_exists",
    "_exclude",
    "_message_before_copy",
    "_message_after_copy",
    "_message_before_update",
    "_message_after_update",
    "_external_data",
}
KNOWN_KEYS = {"type", "help", "default", "validator", "when", "ask", "placeholder", "choices"}
KNOWN_DELIMITERS = {
    "block_start_string",
    "block_end_string",
    "variable_start_string",
    "variable_end_string",
    "comment_start_string",
    "comment_end_string",
    "undefined",
    "trim_blocks",
    "lstrip_blocks",
    "keep_trailing_newline",
}


def _expressions(text: str) -> list[str]:
    """What stands between our delimiters."""
    return re.findall(r"# \{%.*?%\}|\{\{=.*?\}\}", text, re.DOTALL)


def _names(expression: str) -> set[str]:
    without_text = re.sub(r"'[^']*'|\"[^\"]*\"", "", expression)
    return set(re.findall(r"(?<![\w.])[a-z_]\w*", without_text))


def _template_texts() -> dict[str, str]:
    paths = [path for path in TEMPLATE.rglob("*") if path.is_file() and LEFT_BY_RUNNING.isdisjoint(path.parts)]
    return {str(path.relative_to(TEMPLATE)): path.read_text() for path in paths}


def test_every_setting_is_one_that_copier_knows_and_that_needs_no_trust() -> None:
    assert SETTINGS.keys() <= KNOWN_SETTINGS
    assert SETTINGS["_envops"].keys() <= KNOWN_DELIMITERS


def test_every_key_of_a_question_is_one_that_copier_knows() -> None:
    unknown = {name: question.keys() - KNOWN_KEYS for name, question in QUESTIONS.items()}

    assert {name: keys for name, keys in unknown.items() if keys} == {}


def test_a_misspelt_name_stops_the_rendering() -> None:
    assert SETTINGS["_envops"]["undefined"] == "jinja2.StrictUndefined"


def test_copier_is_new_enough_for_what_is_used_here() -> None:
    assert SETTINGS["_min_copier_version"] == "9.19.1"


def test_every_question_explains_itself_and_checks_its_answer() -> None:
    for name, question in ASKED.items():
        assert question["help"].strip(), name
        assert question["type"] == "bool" or question["validator"].strip(), name


def test_validators_match_the_whole_answer() -> None:
    patterns = re.findall(r"regex_search\((.*)\) %}", TEXT)

    assert patterns
    assert [found for found in patterns if not found.startswith("'^") or not found.endswith(r"\\Z'")] == []


def test_no_secret_is_ever_asked_for() -> None:
    assert [name for name, question in QUESTIONS.items() if "secret" in question] == []


def test_the_questions_keep_to_their_budget() -> None:
    assert len([name for name, question in ASKED.items() if question.get("ask") is not False]) <= 10
    assert len(TEXT.partition("security_notices:")[0].splitlines()) <= 310  # each release adds its own notices


def test_four_questions_about_files_are_all_that_copier_looks_up() -> None:
    """Which folders the owner deleted, whether a .gitignore or a deploy/ is there, and whether .env was written."""
    deleted, foreign = [block for block in SETTINGS["_exclude"] if "fileglob" in block][::-1]
    written, own = SETTINGS["_message_after_copy"], QUESTIONS["deploy"]["default"]

    assert '# {% for folder in [".github", "docs/security", "tests/security"] if found' in deleted
    assert '# {% if _copier_operation == "copy" and there %}\n/.env\n' in foreign
    assert '"/.env") | fileglob' in written
    assert TEXT.count("fileglob") == sum(text.count("fileglob") for text in (deleted, foreign, written, own))
    assert [path for path, text in _template_texts().items() if "fileglob" in text] == []


@pytest.mark.parametrize("reach", ["expandvars", "_external_data", "_copier_python", "include", "import"])
def test_rendering_sees_nothing_but_the_answers(reach: str) -> None:
    """Only the message after an update looks at what the project was before, by `updated_from`."""
    texts = _template_texts() | {path: path for path in _template_texts()} | {"copier.yml": TEXT}
    users = [found for text in texts.values() for found in _expressions(text) if re.search(rf"\b{reach}\b", found)]

    assert users == ([QUESTIONS["updated_from"]["default"]] if reach == "_external_data" else [])


def test_only_the_message_after_an_update_reads_what_the_project_was_before() -> None:
    assert SETTINGS["_external_data"] == {"before": "{{= _copier_conf.answers_file }}"}
    texts = [found for text in (*_template_texts().values(), TEXT) for found in _expressions(text)]
    users = [found for found in texts if "updated_from" in found]
    assert [found in SETTINGS["_message_after_update"] for found in users] == [True]


def test_files_are_chosen_by_the_computed_features_and_never_by_a_raw_answer() -> None:
    raw = ASKED.keys() - {"project_name", "slug"}
    excluded = "\n".join(SETTINGS["_exclude"])
    messages = "\n".join(value for name, value in SETTINGS.items() if name.startswith("_message"))
    texts = _template_texts() | {"_exclude": excluded, "_message": messages}

    users = [(path, found) for path, text in texts.items() for found in _expressions(text) if _names(found) & raw]

    assert raw
    assert users == []


def test_no_path_is_conditional() -> None:
    assert [path for path in _template_texts() if "{%" in path] == []


def _features() -> dict[str, Any]:
    """The computed mapping, whatever is on."""
    found: dict[str, Any] = yaml.safe_load(re.sub(r"\{\{=.*?\}\}", "true", QUESTIONS["features"]["default"]))
    return found


def test_every_file_of_a_feature_is_there() -> None:
    for name, feature in _features().items():
        assert feature.keys() == {"enabled", "folders", "files", "packages"}, name
        paths = [f"{tree}/security/{folder}/__init__.py" for folder in feature["folders"] for tree in ("app", "tests")]
        paths += feature["files"]
        assert [path for path in paths if not (TEMPLATE / path).exists()] == [], name


def test_every_path_that_updates_leave_alone_is_there() -> None:
    named = [line.strip() for block in SETTINGS["_exclude"] for line in block.splitlines() if line.startswith("/")]
    paths = SETTINGS["_skip_if_exists"] + [path.strip("/") for path in named if "{{=" not in path]

    assert [path for path in paths if not (TEMPLATE / path).exists()] == []
