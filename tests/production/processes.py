"""Servers of one machine that a test can kill, freeze and start again: PostgreSQL, Redis, nginx, the service."""

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def until(done: Callable[[], object], seconds: float = 60, every: float = 0.1) -> float:
    """Wait until this is true. Returns the seconds that it took."""
    begun = time.monotonic()
    while not done():
        assert time.monotonic() - begun < seconds, f"not within {seconds} seconds"
        time.sleep(every)
    return time.monotonic() - begun


def accepts_connections(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True


def children(pid: int) -> list[int]:
    """The child processes of a process, and theirs."""
    try:
        direct = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return []
    return [one for child in map(int, direct) for one in (child, *children(child))]


def send_signal(pid: int, number: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, number)


@dataclass
class Server:
    """A program that listens on a port, and its log."""

    command: list[str]
    port: int
    log: Path
    environment: Mapping[str, str] | None = None
    folder: Path | None = None
    options: dict[str, object] = field(default_factory=dict)  # of subprocess.Popen
    process: "subprocess.Popen[bytes] | None" = None

    @property
    def pid(self) -> int:
        assert self.process
        return self.process.pid

    def start(self, *, wait: bool = True) -> None:
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self.command,
                cwd=self.folder,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                **self.options,  # type: ignore[call-overload]
            )
        if wait:
            self.wait_until_ready()

    def wait_until_ready(self) -> float:
        return until(self.is_ready, 180)

    def is_ready(self) -> bool:
        assert self.process
        assert self.process.poll() is None, self.log.read_text()
        return accepts_connections(self.port)

    def pids(self) -> list[int]:
        return [self.pid, *children(self.pid)]

    def send(self, number: int) -> None:
        """To the process and all of its children."""
        for pid in self.pids():
            send_signal(pid, number)

    def freeze(self) -> None:
        self.send(signal.SIGSTOP)

    def thaw(self) -> None:
        self.send(signal.SIGCONT)

    def kill(self) -> None:
        """SIGKILL, as the kernel does that is out of memory."""
        if self.process is not None:
            self.send(signal.SIGKILL)
            self.process.wait(20)

    def stop(self, number: int = signal.SIGTERM, seconds: float = 60) -> int:
        """End it as an operator does. Returns its exit code."""
        assert self.process
        self.process.send_signal(number)
        return self.process.wait(seconds)

    def lines(self) -> list[str]:
        return self.log.read_text(errors="replace").splitlines()


PROGRAMS = sorted(Path("/usr/lib/postgresql").glob("*/bin"))


@dataclass
class Postgres(Server):
    """Debian's PostgreSQL in a folder of its own."""

    def sql(self, statements: str, *, database: str = "postgres") -> str:
        """As the superuser, over the socket."""
        done = subprocess.run(self.client(database), input=statements, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def client(self, database: str = "postgres") -> list[str]:
        base = ["psql", "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1"]
        return [*base, "-h", str(self.folder), "-p", str(self.port), "-U", "postgres", "-d", database]

    def is_ready(self) -> bool:
        assert self.process
        assert self.process.poll() is None, self.log.read_text()
        return subprocess.run([*self.client(), "-c", "SELECT 1"], capture_output=True).returncode == 0

    def kill(self) -> None:
        super().kill()
        # A new server waits for the memory of those that are gone.
        (self.log.parent / "data/postmaster.pid").unlink(missing_ok=True)

    @contextmanager
    def session(self, first: str, *, database: str = "postgres") -> Iterator[None]:
        """A client that stays connected after its first statements."""
        pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
        with subprocess.Popen(self.client(database), **pipes, text=True) as one:
            assert one.stdin
            assert one.stdout
            one.stdin.write(f"{first}\n\\echo ready\n")
            one.stdin.flush()
            for line in one.stdout:
                if line == "ready\n":
                    break
            else:
                raise AssertionError("the session ended")
            try:
                yield
            finally:
                one.terminate()


def postgres(folder: Path, *settings: str) -> Postgres:
    """A new server. It refuses to run as root, so its folder belongs to Debian's user then."""
    user: dict[str, object] = {}
    if os.geteuid() == 0:
        shutil.chown(folder, "postgres", "postgres")
        user = {"user": "postgres", "group": "postgres", "extra_groups": []}
    data, port = folder / "data", free_port()  # initdb takes an empty folder, too
    initdb = [str(PROGRAMS[-1] / "initdb"), "-D", str(data), "-U", "postgres", "-E", "UTF8", "--no-sync"]
    initdb += ["--auth-local=trust", "--auth-host=scram-sha-256"]
    subprocess.run(initdb, cwd=folder, check=True, stdout=subprocess.DEVNULL, **user)  # type: ignore[call-overload]
    # Without fsync a killed server loses nothing: what it wrote is in the kernel's memory.
    options = ["listen_addresses=127.0.0.1", "fsync=off", *settings]
    command = [str(PROGRAMS[-1] / "postgres"), "-D", str(data), "-p", str(port), "-k", str(folder)]
    command += [word for one in options for word in ("-c", one)]
    log = folder / "log"
    log.touch()
    return Postgres(command, port, log, folder=folder, options=user)


def redis(folder: Path, *settings: str) -> Server:
    port = free_port()
    command = ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(folder)]
    return Server([*command, *settings], port, folder / "redis.log")


@contextmanager
def folder_for_servers() -> Iterator[Path]:
    """A folder that other users may enter, unlike those of pytest."""
    folder = Path(tempfile.mkdtemp(prefix="production-", dir="/tmp"))
    folder.chmod(0o755)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
