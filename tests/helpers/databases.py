"""Databases of the tests' own: files, and new ones on a PostgreSQL and a MariaDB.

A server that answers on its usual port is used as it stands; HPO_TEST_POSTGRESQL and HPO_TEST_MARIADB hold URLs of
others. Where none answers, the session starts one: PostgreSQL from a wheel, MariaDB where it is installed.
"""

import fcntl
import functools
import os
import secrets
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import sqlalchemy as sa
from hpo_storage.database import Database, connect, upgrade
from hpo_storage.engine import parse_url
from hpo_storage.records import StudyRecord
from hpo_storage.studies import read_study

from tests.helpers.keeper import session_folder

ROOT = Path(__file__).parents[2]
USUAL = {
    "postgresql": "postgresql://postgres@127.0.0.1:5432/postgres",
    "mariadb": "mariadb://root@127.0.0.1:3306/mysql",
}
SERVER_KINDS = tuple(USUAL)
KINDS = ("sqlite", *SERVER_KINDS)

_keepers: list["subprocess.Popen[str]"] = []
"""Referred to until the end, when they notice that this process is gone."""


@functools.cache
def _upgraded() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "hpo.db"
        database = connect(f"sqlite:///{path}")
        upgrade(database)
        database.close()
        return path.read_bytes()


def upgraded_file(path: Path) -> str:
    """The URL of a new file there with all tables, which take a while to make for the first time only."""
    path.write_bytes(_upgraded())
    return f"sqlite:///{path}"


@contextmanager
def new_database(kind: str, folder: Path) -> Iterator[str]:
    """The URL of an empty database: a file in the folder, or one on a server, which is dropped at the end."""
    if kind == "sqlite":
        yield f"sqlite:///{folder / 'hpo.db'}"
        return
    name = f"hpo_{secrets.token_hex(6)}"
    engine = sa.create_engine(server_url(kind), isolation_level="AUTOCOMMIT")
    try:
        with engine.connect() as connection:
            connection.exec_driver_sql(f"CREATE DATABASE {name}")
        try:
            yield engine.url.set(database=name).render_as_string(hide_password=False)
        finally:
            with engine.connect() as connection:
                connection.exec_driver_sql(f"DROP DATABASE {name}" + " WITH (FORCE)" * (kind == "postgresql"))
    finally:
        engine.dispose()


@functools.cache
def server_url(kind: str) -> str:
    """A server, at an address of which its administrator may make databases; skips where there is none."""
    url = parse_url(os.environ.get(f"HPO_TEST_{kind.upper()}", USUAL[kind])).render_as_string(hide_password=False)
    return url if _answers(url) else _own_server(kind)


def _answers(url: str) -> bool:
    engine = sa.create_engine(url, connect_args={"connect_timeout": 5})
    try:
        engine.connect().close()
    except sa.exc.OperationalError:
        return False
    else:
        return True
    finally:
        engine.dispose()


def _own_server(kind: str) -> str:
    """One for all processes of this session: the first that needs it starts it, and the others wait."""
    distributed = "PYTEST_XDIST_WORKER" in os.environ
    session = os.getppid() if distributed else os.getpid()
    folder = session_folder(session)
    folder.mkdir(exist_ok=True)
    with (folder / kind).open("a+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.seek(0)
        url = file.read() or _started(kind, session, folder / f"{kind}.log")
        file.truncate(0)
        file.write(url)
    if url.startswith("missing "):
        pytest.skip(f"needs {url.removeprefix('missing ')}: no {kind} answers, and none can be started")
    return parse_url(url).render_as_string(hide_password=False)


def _started(kind: str, session: int, log: Path) -> str:
    command = [sys.executable, "-m", "tests.helpers.keeper", kind, str(session)]
    with log.open("w") as errors:
        options = {"stdout": subprocess.PIPE, "stderr": errors, "text": True, "cwd": ROOT, "start_new_session": True}
        keeper = subprocess.Popen(command, **options)
    _keepers.append(keeper)
    assert keeper.stdout is not None
    url = keeper.stdout.readline().strip()
    assert url, f"the {kind} of this session has not started:\n{log.read_text()}"
    return url


@contextmanager
def opened(url: str) -> Iterator[Database]:
    """A database that is there, until the end of the block."""
    database = connect(url, create=False)
    try:
        yield database
    finally:
        database.close()


def read(url: str, study: str) -> StudyRecord:
    with opened(url) as database:
        return read_study(database, study)
