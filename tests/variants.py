"""Which projects there are: every valid combination of the answers that shape the app, computed from copier.yml."""

from collections.abc import Iterator
from itertools import combinations as combine
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
PIPELINES = {"bandit", "zap", "deploy"}  # they change what CI does and how it is run, and nothing of the app
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
SHAPING_THE_APP = {name: answers for name, answers in COMBINATIONS.items() if all(answers[job] for job in PIPELINES)}
VARIANTS: dict[str, Answers] = SHAPING_THE_APP | {name: ALL | changed for name, changed in OTHER_VALUES.items()}


def _alone(way_in: str) -> Answers:
    """The project in which everything else is off."""
    return {name: values_of(name)[0 if name == way_in else 1] for name in shaping()}


Pair = tuple[tuple[str, bool], tuple[str, bool]]


def _pairs(answers: Answers) -> set[Pair]:
    """Every two answers that stand together here, as on or off."""
    return set(combine(sorted((name, bool(value)) for name, value in answers.items()), 2))


def pairwise() -> dict[str, Answers]:
    """Everything on, the smallest projects, and as many more as it takes for any two answers to stand together."""
    chosen = [ALL, *SMALLEST.values()]
    missing = set().union(*map(_pairs, COMBINATIONS.values())).difference(*map(_pairs, chosen))
    while missing:
        chosen.append(max(COMBINATIONS.values(), key=lambda answers: len(missing & _pairs(answers))))
        missing -= _pairs(chosen[-1])
    return dict(_named_with_other_values(chosen))


def _named_with_other_values(chosen: list[Answers]) -> Iterator[tuple[str, Answers]]:
    """Each other form of an answer takes the place of the usual one, in a project that has it on."""
    waiting = dict(OTHER_VALUES)
    for answers in chosen:
        taken: dict[str, Answers] = {}
        for name, changed in waiting.items():
            used = {question for other in taken.values() for question in other}
            if answers is not ALL and all(answers[question] for question in changed) and used.isdisjoint(changed):
                taken[name] = changed
        for name in taken:
            del waiting[name]
        yield "-".join([label(answers), *taken]), answers | {key: v for t in taken.values() for key, v in t.items()}
    assert not waiting, f"no project has a suite with {sorted(waiting)}"


SMALLEST = {"logins alone": _alone("jwt"), "keys alone": _alone("api_keys")}
PAIRWISE = pairwise()
EVERY = VARIANTS | PAIRWISE
MAIN = {label(answers): answers for answers in (ALL, *SMALLEST.values())}  # everything on, and the smallest projects
