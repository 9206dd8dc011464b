"""A PostgreSQL server for tests, in a directory of its own, on loopback."""

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

import psycopg

__all__ = ["PASSWORD", "Server", "postgresql_missing", "running_server"]

PASSWORD: Final = "only-for-tests"  # noqa: S105 - of a server that tests start
_SECONDS: Final = 60.0
_DEBIAN: Final = Path("/usr/lib/postgresql")
_SETTINGS: Final = """
listen_addresses = '127.0.0.1'
unix_socket_directories = ''
fsync = off
max_connections = 60
log_min_duration_statement = -1
"""


def _programs() -> Path | None:
    """The folder of the server's programs: the one on the PATH, or the newest that Debian has installed."""
    if on_path := shutil.which("initdb"):
        return Path(on_path).parent
    found = sorted(_DEBIAN.glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    return found[-1].parent if found else None


def postgresql_missing() -> str | None:
    """Why a server cannot be had; None if it can."""
    return None if _programs() else f"no initdb on the PATH, nor in {_DEBIAN}"


class Server:
    """A server that runs as an unprivileged user, because PostgreSQL refuses to run as root."""

    def __init__(self, directory: Path) -> None:
        self.port = _free_port()
        self._directory = directory
        self._data = directory / "data"
        self._process: subprocess.Popen[bytes] | None = None
        self._as_user: dict[str, Any] = {}
        if os.geteuid() == 0:
            user = pwd.getpwnam("nobody")
            os.chown(directory, user.pw_uid, user.pw_gid)
            self._as_user = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
        password = directory / "password"
        password.write_text(PASSWORD)
        password.chmod(0o644)
        arguments = ["--username=owner", f"--pwfile={password}", "--auth=scram-sha-256", "--encoding=UTF8", "--no-sync"]
        self._run("initdb", *arguments, "--locale=C", f"--pgdata={self._data}")
        with (self._data / "postgresql.conf").open("a") as file:
            file.write(f"{_SETTINGS}port = {self.port}\n")

    def location(self, database: str = "postgres", user: str = "owner") -> str:
        """As `--store` takes it. The password is in the variable PGPASSWORD."""
        return f"postgresql://{user}@127.0.0.1:{self.port}/{database}"

    def connect(self, database: str = "postgres") -> psycopg.Connection[Any]:
        """A connection of the owner, in autocommit mode."""
        return psycopg.connect(self.location(database), password=PASSWORD, autocommit=True)

    def start(self) -> None:
        """Start, and wait until it answers. Raises `RuntimeError` with its log if it does not."""
        log = (self._directory / "log").open("ab")
        with log:
            self._process = subprocess.Popen(
                [self._program("postgres"), "-D", str(self._data)],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self._directory, **self._as_user,
            )  # fmt: skip
        deadline = time.monotonic() + _SECONDS
        while time.monotonic() < deadline and self._process.poll() is None:
            with suppress(psycopg.OperationalError):
                self.connect().close()
                return
            time.sleep(0.05)
        raise RuntimeError((self._directory / "log").read_text()[-2000:])

    def stop(self, mode: str = "fast") -> None:
        """Stop: `fast` ends the connections, `immediate` is a crash."""
        if self._process is not None:
            self._run("pg_ctl", "stop", f"--mode={mode}", f"--pgdata={self._data}")
            self._process.wait(_SECONDS)
            self._process = None

    def _program(self, name: str) -> str:
        folder = _programs()
        if folder is None:
            raise RuntimeError(postgresql_missing())
        return str(folder / name)

    def _run(self, name: str, *arguments: str) -> None:
        ended = subprocess.run(
            [self._program(name), *arguments],
            stdin=subprocess.DEVNULL, capture_output=True, text=True, cwd=self._directory, check=False, **self._as_user,
        )  # fmt: skip
        if ended.returncode != 0:
            raise RuntimeError(f"{name} failed: {ended.stdout}{ended.stderr}")


@contextmanager
def running_server() -> Iterator[Server]:
    """A server that runs, and is deleted at the end."""
    directory = Path(tempfile.mkdtemp(prefix="framework-postgresql-"))  # pytest's folders are closed to other users
    directory.chmod(0o755)
    try:
        server = Server(directory)
        server.start()
        try:
            yield server
        finally:
            server.stop("immediate")
    finally:
        shutil.rmtree(directory)


def _free_port() -> int:
    with socket.socket() as candidate:
        candidate.bind(("127.0.0.1", 0))
        port: int = candidate.getsockname()[1]
        return port
