"""Generates projects from the working tree, and runs what belongs to them."""

import ast
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import copier
import yaml

from tests.releases import releases

ROOT = Path(__file__).resolve().parents[1]
TEMPLATE = ROOT / "template"
OVERLAY = ROOT / "tests/generated"  # tests of our internals: laid over a generated project, and not shipped
NAME = "Demo Service"
NEWEST = "v9999.0.0"  # newer than every release, so an update from any of them leads to the working tree

LONGEST_RUN = 900  # seconds: a program that hangs is a failed test, not a stopped CI

# Variables of these names reach the programs that tests start: where things are, and how to get at the registry.
OUTSIDE = ("PATH", "HOME", "LANG", "LC_", "TMPDIR", "SSL_", "UV_", "GIT_", "COPIER_")
PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")


def outside() -> dict[str, str]:
    """The process's environment without anything that a generated project would read."""
    return {name: value for name, value in os.environ.items() if name.startswith(OUTSIDE) or name.upper() in PROXIES}


@dataclass(frozen=True)
class Environment:
    """The one virtual environment with which every generated project is run: all of them depend on the same."""

    path: Path

    def variables(self) -> dict[str, str]:
        programs = f"{self.path / 'bin'}{os.pathsep}{os.environ['PATH']}"
        return outside() | {"UV_PROJECT_ENVIRONMENT": str(self.path), "PATH": programs}


@dataclass(frozen=True)
class Project:
    """A generated project."""

    path: Path
    environment: Environment | None = None

    def file(self, name: str) -> Path:
        return self.path / name

    def read(self, name: str) -> str:
        return self.file(name).read_text()

    def write(self, name: str, text: str) -> None:
        self.file(name).parent.mkdir(parents=True, exist_ok=True)
        self.file(name).write_text(text)

    def append(self, name: str, text: str) -> None:
        with self.file(name).open("a") as file:
            file.write(text)

    def replace(self, name: str, old: str, new: str) -> None:
        """Edit a file as a person would; the place has to be there."""
        text = self.read(name)
        assert old in text, f"{name} has no {old!r}"
        self.write(name, text.replace(old, new, 1))

    def answers(self) -> dict[str, Any]:
        found: dict[str, Any] = yaml.safe_load(self.read(".copier-answers.yml"))
        return found

    def files(self) -> dict[str, bytes]:
        """Every file but git's own and what running leaves behind, with its content."""
        return dict(_contents(self.path))

    def run(self, *command: str, **variables: str) -> subprocess.CompletedProcess[str]:
        """Run a program of the shared environment here, and say how it went."""
        known = self.environment.variables() if self.environment else outside()
        return subprocess.run(
            command,
            cwd=self.path,
            env=known | variables,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=LONGEST_RUN,
        )

    def must(self, *command: str, **variables: str) -> str:
        """Run a program that has to succeed, and return what it printed."""
        done = self.run(*command, **variables)
        assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def commit(self, message: str = "Work") -> None:
        if not self.file(".git").exists():
            self.must("git", "init", "--quiet")
        self.must("git", "add", "--all")
        self.must("git", "commit", "--quiet", "--message", message)


def lay_over(project: Project) -> list[str]:
    """Add the tests of our internals, without those that import what this project lacks. Returns the test files."""
    sources = {str(path.relative_to(OVERLAY)): path.read_text() for path in sorted(OVERLAY.rglob("*.py"))}
    away = {name for name in sources if not project.file(name).parent.is_dir()}
    shipped = {name: name.replace("_details.py", ".py") for name in sources if name.endswith("_details.py")}
    away |= {name for name, of in shipped.items() if (TEMPLATE / of).exists() and not project.file(of).exists()}
    lacking = away | {name for name in _modules(TEMPLATE) if not project.file(name).exists()}
    chosen = {name: text for name, text in sources.items() if lacking.isdisjoint({name, *_imported_files(text)})}
    for name, text in chosen.items():
        project.write(name, text)
    return [name for name in chosen if Path(name).name.startswith("test_")]


def _modules(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*.py")}


def _imported_files(text: str) -> set[str]:
    """The files that a module may import: `from a.b import c` may mean a/b.py or a/b/c.py."""
    imports = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.ImportFrom) and node.module]
    modules = {name for node in imports for name in (node.module, *(f"{node.module}.{one.name}" for one in node.names))}
    return {f"{str(module).replace('.', '/')}.py" for module in modules}


LEFT_BY_RUNNING = {".git", ".venv", "__pycache__", ".mypy_cache", ".ruff_cache", ".pytest_cache", "uv.lock"}


def _contents(folder: Path) -> Iterator[tuple[str, bytes]]:
    for path in sorted(folder.rglob("*")):
        relative = path.relative_to(folder)
        if path.is_file() and LEFT_BY_RUNNING.isdisjoint(relative.parts) and ".sqlite3" not in path.name:
            yield str(relative), path.read_bytes()


@dataclass
class Template:
    """A state of this repository, as git keeps it. `render` is cached: copy what you want to change."""

    path: Path
    scratch: Path
    environment: Environment | None = None
    version: str = NEWEST
    _rendered: dict[tuple[Any, ...], Project] = field(default_factory=dict)

    def render(self, **answers: Any) -> Project:
        """The project that these answers make. Others read it too, so change nothing in it."""
        key = tuple(sorted((name, repr(value)) for name, value in answers.items()))
        if key not in self._rendered:
            self._rendered[key] = self.copy(self.scratch / f"project-{len(self._rendered)}", **answers)
        return self._rendered[key]

    def copy(self, destination: Path, **answers: Any) -> Project:
        """`copier copy` without trust, into this folder."""
        data = {"project_name": NAME} | answers
        copier.run_copy(
            str(self.path), destination, data=data, defaults=True, quiet=True, unsafe=False, vcs_ref=self.version
        )
        return Project(destination, self.environment)

    def at(self, version: str) -> "Template":
        """The same template at a released version, `v0.1.0`."""
        return replace(self, version=version, scratch=self.scratch / version, _rendered={})

    def copy_of(self, project: Project, destination: Path) -> Project:
        """The same project once more, to be changed."""
        shutil.copytree(project.path, destination)
        return Project(destination, self.environment)

    def update(self, project: Project, **answers: Any) -> None:
        """`copier update` without trust, to this version."""
        copier.run_update(
            project.path,
            data=answers,
            defaults=True,
            overwrite=True,
            quiet=True,
            unsafe=False,
            vcs_ref=self.version,
        )

    def recopy(self, project: Project) -> None:
        """`copier recopy` without trust, of this version: it reads the answers as an update does, and renders once."""
        copier.run_recopy(project.path, defaults=True, overwrite=True, quiet=True, unsafe=False, vcs_ref=self.version)

    def fork(self, folder: Path) -> "Template":
        """The same template for one test, which may change it and `release` the change."""
        _git(folder.parent, "clone", "--quiet", str(self.path), str(folder))
        return Template(folder, folder.with_name(f"{folder.name}-rendered"), self.environment, self.version)

    def replace(self, name: str, old: str, new: str) -> None:
        Project(self.path).replace(name, old, new)

    def release(self, version: str) -> None:
        """Commit and tag what was changed."""
        _commit(self.path, f"Release {version}", version)
        self.version = version


def _git(folder: Path, *arguments: str) -> str:
    return subprocess.run(
        ["git", *arguments], cwd=folder, env=outside(), check=True, capture_output=True, text=True
    ).stdout


def _commit(folder: Path, message: str, tag: str) -> None:
    _git(folder, "add", "--all")
    _git(folder, "commit", "--quiet", "--allow-empty", "--message", message)
    _git(folder, "tag", tag)


def snapshot(folder: Path) -> Path:
    """The working tree, changed and new files included, as the newest version of a clone with every release."""
    _git(ROOT, "clone", "--quiet", "--shared", str(ROOT), str(folder))
    _git(folder, "rm", "-r", "--quiet", "--force", ".")
    for name in _git(ROOT, "ls-files", "-z", "--cached", "--others", "--exclude-standard").split("\0"):
        source, target = ROOT / name, folder / name
        if name and source.is_file():  # a file that was just deleted is still listed
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(source, target)
    for version, commit in releases().items():
        _git(folder, "tag", "--force", f"v{version}", commit)
    _commit(folder, "The working tree", NEWEST)
    return folder


def interpreter(python: str) -> str:
    """A Python of this version beside the one that runs the tests; where there is none, uv finds or fetches it."""
    root = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    found = sorted(root.glob(f"versions/{python}.*/bin/python"))
    return str(found[-1]) if found else python


def install(project: Project, folder: Path, python: str = sys.executable, *options: str) -> Environment:
    """Bring an environment to what this project depends on."""
    environment = Environment(folder)
    what = ("--all-groups", "--no-install-project", "--compile-bytecode")
    _uv(project, environment, "sync", *what, "--python", python, *options)
    return environment


SUCCESSORS = {"passlib": "libpass"}  # it installs the modules of the package that an older release names


def install_beside(project: Project, environment: Environment) -> None:
    """Add what this project depends on and the environment lacks."""
    needed = tomllib.loads(project.file("pyproject.toml").read_text())["project"]["dependencies"]
    python = str(environment.path / "bin/python")
    installed = _uv(project, environment, "pip", "freeze", "--python", python).lower()
    packages = {name: re.split("[^a-z0-9-]", name)[0] for name in needed}
    lacking = [name for name, one in packages.items() if f"\n{SUCCESSORS.get(one, one)}==" not in f"\n{installed}"]
    if lacking:
        _uv(project, environment, "pip", "install", "--python", python, *lacking)


def _uv(project: Project, environment: Environment, *command: str) -> str:
    variables = environment.variables()
    done = subprocess.run(["uv", "--quiet", *command], cwd=project.path, env=variables, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def git_environment(folder: Path) -> Mapping[str, str]:
    """Variables that make git and Copier the same on every machine."""
    settings = folder / "copier-settings.yml"
    settings.write_text("{}\n")
    return {
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_AUTHOR_NAME": "A Developer",
        "GIT_AUTHOR_EMAIL": "developer@example.com",
        "GIT_COMMITTER_NAME": "A Developer",
        "GIT_COMMITTER_EMAIL": "developer@example.com",
        "COPIER_SETTINGS_PATH": str(settings),
    }
