"""`manage`: people, secrets, migrations, and a look at the app itself."""

import asyncio
import json
from collections.abc import Callable
from typing import Annotated

import typer
from alembic.util import CommandError
from fastapi import FastAPI

from app.database import DatabaseSettings
from app.security.access.policy import InsecureApp, Policies
from app.security.core import logs, secret_keys, settings
from app.security.core.settings import ROOT
from app.security.operations import doctor, migrations, policy_words, start_up
from app.security.operations.terminal import fail, reach

# Each stands in its condition.
# isort: off
# {% if features.roles.enabled %}
from app.security.access import roles

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
# isort: on

MIGRATED_ELSEWHERE = "A newer checkout has migrated this database, or a file of migrations/ is gone: see git."
LoadApp = Callable[[], FastAPI]


def command_line(load_app: LoadApp) -> typer.Typer:
    """Our commands; add yours to what is returned."""
    cli = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
    # {% if features.roles.enabled %}
    known = [role.value for role in roles.Role]
    cli.add_typer(user_commands.commands(known, roles.first_role()), name="users", help="People who may log in.")
    # {% elif features.jwt.enabled %}
    cli.add_typer(user_commands.commands(), name="users", help="People who may log in.")
    # {% endif %}
    # {% if features.api_keys.enabled %}
    cli.add_typer(key_commands.commands(_scopes(load_app)), name="keys", help="API keys of service accounts.")
    # {% endif %}
    cli.add_typer(_secrets(), name="secrets", help="Secrets of this service.")
    # {% if features.audit_log.enabled %}
    cli.add_typer(audit_commands.commands(), name="audit", help="The audit log.")
    # {% endif %}
    cli.command("migrate")(migrate)
    cli.command("routes")(_routes(load_app))
    cli.command("doctor")(_doctor(load_app))
    return cli


def migrate() -> None:
    """Bring the database to the newest revision: the tables of the protections, then yours."""
    asyncio.run(_migrate())
    typer.echo("The database is up to date.")


async def _migrate() -> None:
    own_role = DatabaseSettings.current().migration_database_url
    await reach(migrations.new_engine(), "MIGRATION_DATABASE_URL" if own_role else "DATABASE_URL")
    try:
        await migrations.migrate()
    except CommandError as error:
        fail(f"Nothing was migrated: {error}. {MIGRATED_ELSEWHERE if 'locate' in str(error) else ''}".rstrip())


def _secrets() -> typer.Typer:
    secrets = typer.Typer(no_args_is_help=True)

    @secrets.callback()
    def group() -> None:
        """Secrets of this service."""

    @secrets.command("new")
    def new(
        write: Annotated[bool, typer.Option(help="Make the .env that a fresh clone lacks.")] = False,
    ) -> None:
        """Print a new random secret, or write it into a new .env."""
        if not write:
            return typer.echo(secret_keys.new_secret())
        path = ROOT / ".env"
        try:
            with path.open("x") as file:
                path.chmod(0o600)
                file.write(f"SECRET_KEY={secret_keys.new_secret()}\n")
        except FileExistsError:
            path.chmod(0o600)  # Copier made it readable for others
            typer.echo(".env is there already; its lines stay as they are, and no other user can read it.", err=True)
            raise typer.Exit(1) from None
        typer.echo("Wrote .env with a secret of its own.")

    return secrets


def _looked_at(load_app: LoadApp) -> tuple[FastAPI, Policies]:
    """The app, which weak settings do not stop and which never serves, and its policies."""
    settings.looking_only = True
    app = load_app()
    try:
        return app, start_up.check_app(app)
    except InsecureApp as error:
        fail(str(error))


# {% if features.api_keys.enabled %}
def _scopes(load_app: LoadApp) -> Callable[[], list[str]]:
    def scopes() -> list[str]:
        return _looked_at(load_app)[1].scopes()

    return scopes


# {% endif %}
def _routes(load_app: LoadApp) -> Callable[[], None]:
    def routes() -> None:
        """Who may call what, computed from the app."""
        app, policies = _looked_at(load_app)
        people = not all(kind.always_limited for kind in app.state.credentials.kinds)
        for policy in sorted(policies.all, key=lambda policy: policy.path):
            words = filter(None, [policy_words.who_may_call(policy, people=people), policy_words.exceptions(policy)])
            typer.echo(f"{policy.name:<40} {'; '.join(words)}")

    return routes


def _doctor(load_app: LoadApp) -> Callable[[bool], None]:
    def check(as_json: Annotated[bool, typer.Option("--json")] = False) -> None:
        """What is wrong with this configuration; exit code 1 when anything is."""
        logs.to_stderr()  # stdout is for the report
        report = asyncio.run(doctor.examine(load_app))
        typer.echo(json.dumps(report.as_dict(), indent=2) if as_json else report.as_text())
        raise typer.Exit(1 if report.problems else 0)

    return check
