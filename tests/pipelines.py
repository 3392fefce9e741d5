"""The jobs of a generated project's workflow, run here as GitHub runs them: their commands, in their order."""

import subprocess
from typing import Any

import yaml

from tests.rendering import Project

WITHOUT_A_NETWORK = ("code", "secrets", "workflows")

Done = subprocess.CompletedProcess[str]


def workflow(project: Project, name: str = "security") -> dict[Any, Any]:
    found: dict[Any, Any] = yaml.safe_load(project.read(f".github/workflows/{name}.yml"))
    return found


def jobs(project: Project, name: str = "security") -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = workflow(project, name)["jobs"]
    return found


def commands(project: Project, job: str) -> list[str]:
    """What a job runs, once its environment is there."""
    found = [str(step["run"]) for step in jobs(project)[job]["steps"] if "run" in step]
    return [command for command in found if not command.startswith("uv sync ")]


def run_job(project: Project, job: str, **variables: str) -> Done:
    """The only command of a job, with the environment that all projects share."""
    (command,) = commands(project, job)
    return project.run("sh", "-e", "-c", command, UV_FROZEN="1", UV_NO_SYNC="1", **variables)


def red(project: Project) -> dict[str, str]:
    """The jobs that fail, of those that need no network, with what they print."""
    done = {job: run_job(project, job) for job in WITHOUT_A_NETWORK if job in jobs(project)}
    return {job: run.stdout + run.stderr for job, run in done.items() if run.returncode}


def waive(project: Project, **fields: str) -> None:
    """Add an entry; dates are not quoted."""
    lines = [f"{name} = {value if name == 'expires' else repr(value)}" for name, value in fields.items()]
    project.append(".github/waivers.toml", "\n".join(["\n[[waiver]]", *lines]) + "\n")
