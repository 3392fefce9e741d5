"""From every release, with everything that people do to a project, an update leaves no conflict and loses no line.

Each project is then what a new one would be, but for its owners' own changes; and features come and go on the way.
"""

from collections.abc import Callable, Collection, Iterator
from pathlib import Path

import pytest
from filelock import FileLock

from tests.lived_in import (
    USES_FEATURES,
    everything_else,
    live_in,
    sort_dependencies,
    theirs,
    write_beside_the_templates_lines,
)
from tests.nightly import EVERYTHING, rows, sample
from tests.releases import OLDEST, RELEASES
from tests.rendering import Environment, Project, Template, install, install_beside, interpreter
from tests.variants import ALL, EVERY, MAIN, Answers, is_valid, label, shaping, values_of

pytestmark = [pytest.mark.slow, pytest.mark.rotating(5)]

PYTHONS = ("3.11", "3.12", "3.13")
Record = Callable[[str, object], None]


def other_value(answers: Answers, question: str) -> object:
    """What turns it off where it is on, and on where it is off."""
    on, off = values_of(question)
    return off if answers[question] else on


def other_answers(answers: Answers) -> dict[str, Answers]:
    """Each question that may be answered otherwise, with the answers that this makes. Without logins no roles."""
    found = {question: answers | {question: other_value(answers, question)} for question in shaping()}
    found["jwt"] |= {} if found["jwt"]["jwt"] else {"roles": ""}
    return {question: flipped for question, flipped in found.items() if is_valid(flipped)}


FLIPS = {
    f"{variant}/{question}": (variant, question) for variant in EVERY for question in other_answers(EVERY[variant])
}
FROM_EVERYTHING = [name for name, (variant, _) in FLIPS.items() if variant == label(ALL)]


class Life:
    """Makes projects that are lived in, and compares what updates make of them with new ones. Each is made once."""

    def __init__(self, template: Template, folder: Path) -> None:
        self._versions = {f"v{version}": template.at(f"v{version}") for version in RELEASES}
        self._newest = template
        self._folder = folder
        self._made: dict[str, Project] = {}

    def begin(
        self, version: str, answers: Answers, uses: Collection[str], folder: Path, *, beside: bool = False
    ) -> Project:
        """A project of this version; its owners' code uses these features, and may stand beside the template's."""
        project = self._newest.copy_of(self._lived_in(self._versions[f"v{version}"], answers, uses, beside), folder)
        project.commit("Live in it")
        return project

    def update(self, project: Project, answers: Answers, uses: Collection[str], *, beside: bool = False) -> None:
        """Update to the working tree with these answers, and look at everything."""
        before = theirs(project)
        self._newest.update(project, **answers)
        assert project.must("git", "diff", "--name-only", "--diff-filter=U") == ""
        assert theirs(project) == before
        assert everything_else(project) == everything_else(self._lived_in(self._newest, answers, uses, beside))
        project.commit("Update")

    def _lived_in(self, template: Template, answers: Answers, uses: Collection[str], beside: bool) -> Project:
        key = repr((template.version, answers, sorted(uses), beside))
        if key not in self._made:
            made = template.copy_of(template.render(**answers), self._folder / f"lived-in-{len(self._made)}")
            live_in(made, uses)
            if beside:
                write_beside_the_templates_lines(made)
            if beside and not answers["rate_limits"]:  # with it 0.3.0 widens the range of redis, in that list
                sort_dependencies(made)
            self._made[key] = made
        return self._made[key]


def used(*sets: Answers) -> list[str]:
    """What their owners' code can use of features, with each of these answers."""
    return [name for name in USES_FEATURES if all(answers[name] for answers in sets)]


@pytest.fixture(scope="session")
def life(runnable: Template, tmp_path_factory: pytest.TempPathFactory) -> Life:
    return Life(runnable, tmp_path_factory.mktemp("life"))


@pytest.mark.parametrize("variant", rows(EVERY, now=MAIN))
@pytest.mark.parametrize("version", RELEASES)
def test_an_update_leaves_no_conflict_and_loses_no_line(
    life: Life, tmp_path: Path, version: str, variant: str, record_property: Record
) -> None:
    record_property("update", f"{version}  {variant}")
    answers = EVERY[variant]
    beside = version != OLDEST  # whose lines 0.2.0 changed: UPGRADING.md says what conflicts
    project = life.begin(version, answers, used(answers), tmp_path / "project", beside=beside)

    life.update(project, answers, used(answers), beside=beside)


@pytest.mark.parametrize("flip", rows(FLIPS, now=sample(FROM_EVERYTHING, one_in=3)))
def test_a_feature_comes_and_goes_on_the_way(life: Life, tmp_path: Path, flip: str, record_property: Record) -> None:
    variant, question = FLIPS[flip]
    answers = EVERY[variant]
    flipped = other_answers(answers)[question]
    there = "off and on" if answers[question] else "on and off"
    record_property("update", f"{OLDEST}  {variant}  {question} {there}")
    project = life.begin(OLDEST, answers, used(answers), tmp_path / "project")

    life.update(project, flipped, used(answers))
    life.update(project, answers, used(answers))


# Their suites


@pytest.fixture(scope="session")
def environments(template: Template, pytestconfig: pytest.Config) -> Callable[[str], Environment]:
    """One for each Python, with what projects of any release need; kept between runs, like the first."""
    assert pytestconfig.cache is not None
    folder = pytestconfig.cache.mkdir("generated-projects")

    def of(python: str) -> Environment:
        with FileLock(folder / "lock"):
            # Nothing is taken away, since another test may run in it.
            made = install(template.render(), folder / f"environment-{python}", interpreter(python), "--inexact")
            for version in RELEASES:
                install_beside(template.at(f"v{version}").render(), made)
            return made

    return of


def updates() -> Iterator[tuple[str, tuple[str, str, str]]]:
    """Each set of answers, a Python, a release to come from, and a question that was answered otherwise before."""
    for number, (variant, answers) in enumerate(EVERY.items()):
        questions = list(other_answers(answers))
        python, version = PYTHONS[number % len(PYTHONS)], RELEASES[number % len(RELEASES)]
        yield variant, (python, version, questions[number % len(questions)])


UPDATES = dict(updates())


@pytest.mark.parametrize("variant", rows(UPDATES, now=sample([*UPDATES], one_in=len(UPDATES))))
def test_its_suite_passes_after_an_update_that_changed_an_answer(
    life: Life,
    tmp_path: Path,
    environments: Callable[[str], Environment],
    variant: str,
) -> None:
    python, version, question = UPDATES[variant]
    answers = EVERY[variant]
    before = other_answers(answers)[question]
    begun = life.begin(version, before, used(before, answers), tmp_path / "project")
    lived_in = Project(begun.path, environments(python))
    lived_in.must("python", "-m", "app.manage", "migrate")

    life.update(lived_in, answers, used(before, answers))

    lived_in.must("python", "-m", "app.manage", "migrate")
    lived_in.must("alembic", "check")
    lived_in.must("python", "-m", "pytest", "--quiet", *(["-m", ""] if EVERYTHING else []), CI="true")
