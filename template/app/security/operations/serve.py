"""`manage serve`: checks the configuration once, then runs uvicorn with the options that this service needs.

A refused start ends with 78 before anything listens; a supervisor restarts a worker that crashed, never one that is
refused.
"""

import contextlib
import logging
import math
import signal
import sys
from typing import Any

import typer
from fastapi import FastAPI
from uvicorn import Config, Server
from uvicorn.config import STARTUP_FAILURE
from uvicorn.supervisors import Multiprocess

from app.database import DatabaseSettings
from app.security.access.policy import InsecureApp
from app.security.admission.request_guard import RequestGuardSettings
from app.security.core import logs, settings
from app.security.operations import start_up

log = logging.getLogger(__name__)
APP = "app.main:app"  # workers import it
KEEP_ALIVE_SECONDS = 75  # longer than proxies keep idle connections (60), or they send a request to a closed one
HEALTH_CHECK_SECONDS = 60  # for a worker to respond; its imports alone may take longer than the 5 of uvicorn
MOST_FILES, SPARE_FILES = 65_536, 100


class ServerConfig(Config):
    """Log lines are ours from the first one on, in every worker: uvicorn calls this before it imports the app."""

    def configure_logging(self) -> None:
        logs.configure()


class Supervisor(Multiprocess):
    def terminate_all(self) -> None:
        """Close our copy of the socket first: it would accept connections that no worker serves any more."""
        for one in self.sockets:
            one.close()
        super().terminate_all()


def serve(load_app: Any, **options: Any) -> None:
    """Check the settings and the app, and serve it. Raises: SystemExit 78 or typer.Exit 78, with every reason."""
    if not settings.problems():
        logs.configure()
    app: FastAPI = load_app()
    try:
        start_up.check_app(app)
    except InsecureApp as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(settings.CONFIGURATION_ERROR) from None
    _allow_files()
    several = options["workers"] > 1
    with contextlib.suppress(KeyboardInterrupt):
        _run(ServerConfig(APP if several else app, **options, **_options()))


def _options() -> dict[str, Any]:
    guard = RequestGuardSettings.current()
    # Proxy headers and the access log are ours; uvicorn would unpack a compressed message before we can refuse it.
    ours = {"proxy_headers": False, "access_log": False, "server_header": False, "ws_per_message_deflate": False}
    times = {"timeout_keep_alive": KEEP_ALIVE_SECONDS, "timeout_worker_healthcheck": HEALTH_CHECK_SECONDS}
    times["timeout_graceful_shutdown"] = math.ceil(guard.response_seconds)
    return {**ours, **times, "ws_max_size": guard.max_body_bytes}


def _run(config: Config) -> None:
    sockets = [config.bind_socket()]
    if config.workers == 1:
        signal.signal(signal.SIGTERM, lambda *_: None)  # uvicorn raises it again after a complete shut-down
        return Server(config).run(sockets)
    supervisor = Supervisor(config, sockets)
    supervisor.run()
    if any(worker.exitcode == STARTUP_FAILURE for worker in supervisor.processes):
        settings.forget()
        if reasons := settings.problems():  # a file has changed since the check
            settings.refuse(reasons)
        raise typer.Exit(STARTUP_FAILURE)


def _allow_files() -> None:
    """Every connection is a file: allow as many as this process may have, and warn where they are few."""
    if sys.platform == "win32":
        return
    import resource

    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    allowed = MOST_FILES if hard == resource.RLIM_INFINITY else min(hard, MOST_FILES)
    resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
    in_flight, pool = RequestGuardSettings.current().max_in_flight, DatabaseSettings.current().database_pool_size
    needed = 2 * (in_flight + pool) + SPARE_FILES
    if allowed < needed:
        log.warning("%s open files are too few for MAX_IN_FLIGHT: allow %s (LimitNOFILE, ulimit -n)", allowed, needed)
