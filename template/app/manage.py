"""The command line: `uv run manage --help`. Your commands stand beside ours."""

from importlib import import_module

from fastapi import FastAPI

from app.security.cli import command_line


def _load_app() -> FastAPI:
    app: FastAPI = import_module("app.main").app  # only when asked for: most commands work while it refuses to start
    return app


cli = command_line(_load_app)


def main() -> None:
    cli()


if __name__ == "__main__":
    main()
