"""`manage serve`: checks the configuration once, then runs uvicorn with the options that this service needs.

A refused start ends with 78 (EX_CONFIG) before anything listens. SIGTERM drains, whatever runs the server.
"""

import asyncio
import contextlib
import logging
import math
import os
import signal
import sys
import threading
from collections.abc import Callable
from types import FrameType
from typing import Annotated, Any

import typer
from fastapi import FastAPI
from uvicorn import Config, Server
from uvicorn.config import STARTUP_FAILURE
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from uvicorn.supervisors import Multiprocess

from app.security.access.policy import InsecureApp
from app.security.admission.request_guard import RequestGuardSettings
from app.security.core import logs, settings
from app.security.operations import start_up

log = logging.getLogger(__name__)
APP = "app.main:app"  # workers import it
MOST_FILES, FILES_PER_SLOT, SPARE_FILES = 65_536, 3, 200  # MAX_IN_FLIGHT counts `async`, `def` and sockets apart
OPTIONS: dict[str, Any] = {
    **{"access_log": False, "proxy_headers": False, "server_header": False},  # ours
    "ws": "app.security.operations.serve:WebSocketProtocol",
    "ws_per_message_deflate": False,  # uvicorn would unpack a message before it can be refused
    "timeout_keep_alive": 75,  # longer than a proxy's (60), which would send a request to a connection just closed
    "timeout_notify": 5,
    "timeout_worker_healthcheck": 60,  # on a busy machine the imports take longer than the default, and start again
}


async def check_files() -> None:
    """Log when no more files can be opened: uvloop then resets new connections, and logs nothing."""
    try:
        os.close(os.open(os.devnull, os.O_RDONLY))
    except OSError as error:
        log.critical("connections are refused (%s): allow more open files (LimitNOFILE, ulimit -n)", error.strerror)


class ServerConfig(Config):
    def configure_logging(self) -> None:
        """In every process before it imports the app, so that all lines are JSON."""
        logs.configure()
        logging.captureWarnings(True)


class WebSocketProtocol(WebSocketsSansIOProtocol):
    """Reads nothing while its client reads nothing: the responses to a flood of pings would fill the memory."""

    def pause_writing(self) -> None:
        super().pause_writing()
        self.transport.pause_reading()

    def resume_writing(self) -> None:
        super().resume_writing()
        self.transport.resume_reading()


class Supervisor(Multiprocess):
    def terminate_all(self) -> None:
        """Close the parent's socket first: connections would be accepted that no worker serves any more."""
        for one in self.sockets:
            one.close()
        super().terminate_all()

    def keep_subprocess_alive(self) -> None:
        """Close the parent's copies of the workers' ends: waiting for a killed one would last until the time-out."""
        for worker in self.processes:
            worker.child_conn.close()
        super().keep_subprocess_alive()


def command(load_app: Callable[[], FastAPI]) -> Callable[..., None]:
    def serve(
        host: Annotated[str, typer.Option(help="Address to listen on; 0.0.0.0 is all of them.")] = "127.0.0.1",
        port: Annotated[int, typer.Option(min=0, max=65_535, help="Port to listen on.")] = 8000,
        workers: Annotated[int, typer.Option(min=1, envvar="WEB_CONCURRENCY", help="Number of processes.")] = 1,
    ) -> None:
        """Serve in production. Exit code 78 if the settings or the app are refused."""
        if not settings.problems():
            ServerConfig(APP)
        app = load_app()
        try:
            start_up.check_app(app)
        except InsecureApp as error:
            typer.echo(str(error), err=True)
            raise typer.Exit(settings.CONFIGURATION_ERROR) from None
        guard = RequestGuardSettings.current()
        _allow_files(FILES_PER_SLOT * guard.max_in_flight + SPARE_FILES)
        grace = math.ceil(guard.response_seconds)
        options = OPTIONS | {"ws_max_size": guard.max_body_bytes, "timeout_graceful_shutdown": grace}
        options |= {"host": host, "port": port, "workers": workers}
        with contextlib.suppress(KeyboardInterrupt):
            _run(ServerConfig(app if workers == 1 else APP, callback_notify=check_files, **options))

    return serve


def _run(config: Config) -> None:
    sockets = [config.bind_socket()]
    if config.workers == 1:
        signal.signal(signal.SIGTERM, lambda *_: None)  # uvicorn raises it again after a complete shut-down
        return Server(config).run(sockets)
    supervisor = Supervisor(config, sockets)
    supervisor.run()
    if any(worker.exitcode == STARTUP_FAILURE for worker in supervisor.processes):
        settings.forget()
        if reasons := settings.problems():  # a secret file has changed since the check
            settings.refuse(reasons)
        raise typer.Exit(STARTUP_FAILURE)


def _allow_files(needed: int) -> None:
    """Every connection is a file: allow as many as this process may have, and warn where they are few."""
    if sys.platform == "win32":
        return
    import resource

    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    allowed = MOST_FILES if hard == resource.RLIM_INFINITY else min(hard, MOST_FILES)
    resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
    if allowed < needed:
        log.warning("%s open files are too few for MAX_IN_FLIGHT: allow %s (LimitNOFILE, ulimit -n)", allowed, needed)


async def drain_before_exit(app: FastAPI) -> None:
    """In production SIGTERM turns readiness to 503 first, and reaches the server SHUTDOWN_DRAIN_SECONDS later."""
    stop, loop = signal.getsignal(signal.SIGTERM), asyncio.get_running_loop()
    if not callable(stop) or not settings.in_production() or threading.current_thread() is not threading.main_thread():
        return

    def drain(number: int, frame: FrameType | None) -> None:
        if not app.state.readiness.draining:  # systemd signals every process, and a supervisor its workers again
            app.state.readiness.draining = True
            seconds = settings.ServiceSettings.current().shutdown_drain_seconds
            loop.call_soon_threadsafe(loop.call_later, seconds, stop, number, frame)

    signal.signal(signal.SIGTERM, drain)
