"""The command line `manage`: people, keys, secrets, migrations, and reports on the app."""

import asyncio
import json
from collections.abc import Callable
from dataclasses import asdict
from typing import Annotated

import typer
from alembic.util import CommandError
from fastapi import FastAPI
from sqlalchemy.exc import DBAPIError

from app.security.access.policy import InsecureApp, Policies
from app.security.core import logs, settings
from app.security.core.settings import ROOT
from app.security.operations import doctor, migrations, serve, start_up
from app.security.operations.terminal import fail, reach

# isort: off
# {% if features.roles.enabled %}
from app.security.access import roles
from app.security.administration import people
from app.security.operations.terminal import command

# {% endif %}
# {% if features.jwt.enabled %}
from app.security.administration import commands as user_commands

# {% endif %}
# {% if features.audit_log.enabled %}
from app.security.audit import commands as audit_commands

# {% endif %}
# {% if features.api_keys.enabled %}
from app.security.keys import commands as key_commands

# {% endif %}
# {% if features.deploy.enabled %}
from app.security.operations import waf
# {% endif %}
# isort: on

LoadApp = Callable[[], FastAPI]


def command_line(load_app: LoadApp) -> typer.Typer:
    """The template's commands. Add yours to the result."""
    cli = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)
    # {% if features.roles.enabled %}
    known = [role.value for role in roles.Role]
    users = user_commands.commands(known, roles.first_role())
    users.command("roles")(command(people.replace_roles))
    cli.add_typer(users, name="users", help="People who may log in.")
    # {% elif features.jwt.enabled %}
    cli.add_typer(user_commands.commands(), name="users", help="People who may log in.")
    # {% endif %}
    # {% if features.api_keys.enabled %}
    keys = key_commands.commands(lambda: _inspect(load_app)[1].scopes())
    cli.add_typer(keys, name="keys", help="API keys of service accounts.")
    # {% endif %}
    secrets = typer.Typer(no_args_is_help=True)
    secrets.command("new")(print_secret)
    cli.add_typer(secrets, name="secrets", help="Secrets of this service.")
    # {% if features.audit_log.enabled %}
    cli.add_typer(audit_commands.commands(), name="audit", help="The audit log.")
    # {% endif %}
    cli.command()(migrate)
    cli.command()(serve.command(load_app))
    # {% if features.deploy.enabled %}
    waf.add_command(cli, lambda: _inspect(load_app)[0])
    # {% endif %}
    _add_reports(cli, load_app)
    return cli


def migrate() -> None:
    """Bring the database to the newest revision. The template's tables first, then yours."""
    asyncio.run(reach(migrations.new_engine()))
    try:
        asyncio.run(migrations.migrate())
    except (CommandError, DBAPIError) as error:
        fail(f"Nothing was migrated: {' '.join(str(error).splitlines()[:2])}.")
    typer.echo("The database is up to date.")


def print_secret(write: Annotated[bool, typer.Option(help="Write it to .env, where that is missing.")] = False) -> None:
    """Print a new random secret. With --write it goes to a new .env that only you can read."""
    if not write:
        return typer.echo(settings.new_secret())
    path = ROOT / ".env"
    try:
        path.touch(0o600, exist_ok=False)
    except FileExistsError:
        path.chmod(0o600)
        fail(".env exists and keeps its content. Only you can read it now.")
    path.write_text(f"SECRET_KEY={settings.new_secret()}\n")
    typer.echo("Wrote .env with a new secret.")


def _add_reports(cli: typer.Typer, load_app: LoadApp) -> None:
    @cli.command()
    def routes() -> None:
        """The routes of this app, and who may call each."""
        _, policies = _inspect(load_app)
        for policy in sorted(policies.all, key=lambda policy: policy.path):
            typer.echo(f"{policy.name:<40} {doctor.callers(policy)}")

    @cli.command()
    def openapi() -> None:
        """Print the OpenAPI document. For CI and client generators: it needs no database and no settings."""
        logs.to_stderr()  # stdout is for the document
        app, _ = _inspect(load_app)
        typer.echo(json.dumps(app.openapi(), indent=2))

    @cli.command("doctor")
    def check(as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False) -> None:
        """Report what is wrong with this configuration. Exit code 1 if anything is."""
        logs.to_stderr()  # stdout is for the report
        report = asyncio.run(doctor.examine(load_app))
        typer.echo(json.dumps(asdict(report), indent=2) if as_json else report.as_text())
        raise typer.Exit(1 if report.problems else 0)


def _inspect(load_app: LoadApp) -> tuple[FastAPI, Policies]:
    """The app and its policies. Weak settings do not stop this, and such an app never serves."""
    settings.looking_only = True
    try:
        app = load_app()
        return app, start_up.check_app(app)
    except InsecureApp as error:
        fail(str(error))
