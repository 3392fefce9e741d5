"""Which projects there are: every valid combination of the answers that shape the app, computed from copier.yml."""

from itertools import product
from typing import Any

import yaml

from tests.rendering import ROOT

QUESTIONS: dict[str, Any] = {
    name: question
    for name, question in yaml.safe_load((ROOT / "copier.yml").read_text()).items()
    if not name.startswith("_") and question.get("when") is not False and question.get("ask") is not False
}
NAMES_AND_SECRETS = {"project_name"}  # they change words, and no code
# Beside yes and no: what is on, and what is off, as an answer.
ON_AND_OFF = {"roles": ("user, admin", ""), "cors_origins": ("https://app.example.com", "")}
# More forms of what is on; a suite of each, since tests count and name them.
OTHER_VALUES: dict[str, dict[str, Any]] = {
    "other-roles": {"roles": "viewer, editor, admin"},
    "admin-alone": {"roles": "admin"},
    "two-origins": {"cors_origins": "https://app.example.com, https://shop.example.com:8443"},
}

Answers = dict[str, Any]


def values_of(question: str) -> tuple[Any, Any]:
    """The answer that switches something on, and the one that switches it off."""
    return (True, False) if QUESTIONS[question]["type"] == "bool" else ON_AND_OFF[question]


def shaping() -> list[str]:
    return [name for name in QUESTIONS if name not in NAMES_AND_SECRETS]


def is_valid(answers: Answers) -> bool:
    """A secured service knows its callers; roles are of people who log in."""
    return bool((answers["jwt"] or answers["api_keys"]) and (answers["jwt"] or not answers["roles"]))


def label(answers: Answers) -> str:
    """What is off, or "all"."""
    return "-".join(f"no_{name}" for name, value in answers.items() if not value) or "all"


def combinations() -> dict[str, Answers]:
    names = shaping()
    all_of_them = [dict(zip(names, values, strict=True)) for values in product(*map(values_of, names))]
    return {label(answers): answers for answers in all_of_them if is_valid(answers)}


COMBINATIONS = combinations()
ALL = COMBINATIONS["all"]
VARIANTS: dict[str, Answers] = COMBINATIONS | {name: ALL | changed for name, changed in OTHER_VALUES.items()}


def one_off() -> dict[str, Answers]:
    """Each answer off once and on in all the others, the smallest projects, and every other form of an answer."""
    chosen = {"all", "no_jwt-no_roles", *(f"no_{name}" for name in shaping())}
    found = {name: answers for name, answers in COMBINATIONS.items() if name in chosen}
    smallest = [_alone("api_keys"), _alone("jwt")]
    return found | {label(answers): answers for answers in smallest} | {name: VARIANTS[name] for name in OTHER_VALUES}


def _alone(way_in: str) -> Answers:
    """The project in which everything else is off."""
    return {name: values_of(name)[0 if name == way_in else 1] for name in shaping()}


RUN_THEIR_SUITE = one_off()
