"""An update of a project in another place: in a larger repository, of a template that moved, without a folder of ours.

The commands are those of UPGRADING.md.
"""

import re
import shutil
import sys
from pathlib import Path

import pytest
import yaml

from tests.rendering import NEWEST, ROOT, Project, Template

pytestmark = [pytest.mark.slow, pytest.mark.rotating(5)]

GUIDE = (ROOT / "UPGRADING.md").read_text()
EDITED = "app/security/core/settings.py"
LINE, THEIRS, NEWER = (f"CONFIGURATION_ERROR = {code}" for code in (78, 70, 64))


@pytest.fixture
def fork(runnable: Template, tmp_path: Path) -> Template:
    return runnable.fork(tmp_path / "template")


def release(fork: Template) -> None:
    """A version that changes a line, and brings a file to a folder that may be gone."""
    fork.replace(f"template/{EDITED}", LINE, NEWER)
    Project(fork.path).write("template/.github/security/brought.py", "BROUGHT = 1\n")
    fork.release("v9999.1.0")


def test_a_project_in_a_folder_of_a_larger_repository_is_updated_there(fork: Template, tmp_path: Path) -> None:
    repository = Project(tmp_path / "repository")
    repository.write("web/index.ts", "export const ours = 1\n")
    project = fork.copy(repository.path / "services/orders")
    project.replace(EDITED, LINE, THEIRS)
    project.append("app/security/tables.py", "# ours\n")
    shutil.rmtree(project.file(".github"))
    repository.commit()
    release(fork)

    fork.update(project)

    changed = repository.must("git", "status", "--porcelain").splitlines()
    assert sorted(changed) == [" M services/orders/.copier-answers.yml", f"UU services/orders/{EDITED}"]
    assert f"{EDITED}, line " in project.run("python3", "app/security/conflicts.py").stdout


def test_the_hook_of_a_larger_repository_runs_what_the_folder_has(template: Template) -> None:
    block = re.search(r"^```yaml\n(.*?)^```$", GUIDE, re.MULTILINE | re.DOTALL)
    assert block
    hook = yaml.safe_load(block[1])["repos"][0]["hooks"][0]
    own = yaml.safe_load(template.render().read(".pre-commit-config.yaml"))["repos"][0]["hooks"]

    assert {"language", "entry", "files"} <= hook.keys()
    for entry in (one["entry"].removesuffix(" --force-exclude") for one in own if one["id"] not in ("secrets", "code")):
        command = entry.replace("uv run --no-sync python app/", "python3 app/")
        assert command in hook["entry"] or command.endswith("audit_workflows.py"), command
    Project(template.path).must("bash", "-n", "-c", hook["entry"])


def test_another_address_of_the_template_is_written_into_the_answers(
    fork: Template, template: Template, tmp_path: Path
) -> None:
    project = template.copy(tmp_path / "project")
    project.replace(".copier-answers.yml", f"_src_path: {template.path}\n", f"_src_path: {fork.path}\n")
    project.commit("Write the address of the repository")
    release(fork)

    fork.update(project)

    assert NEWER in project.read(EDITED)
    assert project.must("git", "diff", "--name-only", "--diff-filter=U") == ""


def test_a_deleted_folder_is_brought_back_as_this_version_has_it(fork: Template, tmp_path: Path) -> None:
    commands = re.search(r"^```console\nuvx (copier copy .*/tmp/new)\n(cp .*)$", GUIDE, re.MULTILINE)
    assert commands
    copy, bring = (command.replace("/tmp/new", f"{tmp_path}/new") for command in commands.groups())  # noqa: S108
    project = fork.copy(tmp_path / "project", audit_log=False)
    before = project.files()
    shutil.rmtree(project.file("tests/security"))
    project.commit()

    project.must("sh", "-c", f"{sys.executable} -m {copy}")
    project.must("sh", "-c", bring)

    assert project.answers()["_commit"] == NEWEST
    assert project.files() == before


OWN_DEPLOY = ("deploy/Dockerfile", "deploy/compose.yaml", "deploy/nginx/nginx.conf", "Dockerfile", ".dockerignore")


def test_an_update_from_a_release_without_deploy_leaves_yours_alone(template: Template, tmp_path: Path) -> None:
    project = template.at("v0.2.0").copy(tmp_path / "project")
    for name in OWN_DEPLOY:
        project.write(name, f"ours: {name}\n")
    project.commit()

    template.update(project)

    assert {name: project.read(name) for name in OWN_DEPLOY} == {name: f"ours: {name}\n" for name in OWN_DEPLOY}
    assert project.must("git", "status", "--porcelain", "--", *OWN_DEPLOY, "deploy") == ""


def test_an_update_brings_deploy_and_merges_what_you_change_in_it(template: Template, tmp_path: Path) -> None:
    project = template.at("v0.2.0").copy(tmp_path / "project")
    project.commit()
    template.update(project)
    assert project.file("deploy/compose.yaml").is_file()
    project.write("deploy/settings.env", "PUBLIC_BASE_URL=https://orders.example\n")
    project.replace("deploy/compose.yaml", "mem_limit: 1g", "mem_limit: 2g")
    project.write("deploy/waf/app.conf", "# written by manage waf\n")
    project.commit("Deploy it")
    fork = template.fork(tmp_path / "template")
    fork.replace("template/deploy/compose.yaml", "image: postgres:18\n", "image: postgres:19\n")
    fork.replace("template/deploy/settings.env", "api.example.com", "example.com")
    fork.release("v9999.1.0")
    project.replace(".copier-answers.yml", str(template.path), str(fork.path))
    project.commit("Move")

    fork.update(project)

    assert project.must("git", "diff", "--name-only", "--diff-filter=U") == ""
    assert project.read("deploy/settings.env") == "PUBLIC_BASE_URL=https://orders.example\n"
    assert "image: postgres:19\n" in project.read("deploy/compose.yaml")
    assert "mem_limit: 2g" in project.read("deploy/compose.yaml")
    assert project.file("deploy/waf/app.conf").is_file()
