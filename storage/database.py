"""From a URL to an open database whose tables are up to date.

On SQLite: write-ahead log, foreign keys, and `synchronous=NORMAL`, under which a power cut may lose the last
commits but never corrupts the file. A write transaction takes the write lock when it begins and waits for it.
"""

import json
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import sqlalchemy as sa
from sqlalchemy import exc
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.pool import ConnectionPoolEntry

from hpo.errors import StorageError
from storage.migrations import HEAD, VERSION_TABLE
from storage.tables import database_time
from storage.urls import DEFAULT_URL

if TYPE_CHECKING:
    from alembic.config import Config

    from storage.optuna import OptunaTables

BUSY_SECONDS = 60.0
"""How long a transaction waits for another process's lock on SQLite."""
DIALECTS = ("sqlite", "postgresql", "mysql", "mariadb")

Begin = Literal["BEGIN", "BEGIN IMMEDIATE"]


@dataclass(frozen=True)
class Database:
    """An open database. It never shows its password."""

    engine: sa.Engine

    @property
    def url(self) -> str:
        """For messages: without the password."""
        return _shown(self.engine.url)

    @cached_property
    def optuna(self) -> "OptunaTables":
        """Optuna's tables; imports Optuna when first used."""
        from storage.optuna import OptunaTables

        return OptunaTables(self.engine)

    @contextmanager
    def begin_read(self) -> Iterator[sa.Connection]:
        """One transaction that sees one state of the database; StorageError where it cannot be read."""
        with self._begin("BEGIN") as connection:
            yield connection

    @contextmanager
    def begin_write(self) -> Iterator[sa.Connection]:
        """One transaction that may write, committed at the end of the block and rolled back on an error.

        StorageError where the database cannot be written, or stays locked for `BUSY_SECONDS`.
        """
        with self._begin("BEGIN IMMEDIATE") as connection:
            yield connection

    @contextmanager
    def _begin(self, begin: Begin) -> Iterator[sa.Connection]:
        engine = self.engine.execution_options(sqlite_begin=begin)
        with _explained(engine.url), engine.connect() as connection, connection.begin() as transaction:
            yield connection
            if not transaction.is_active:
                # Optuna rolls back and goes on after some errors; nothing may be taken for committed then.
                raise RuntimeError("the transaction was rolled back by a call that did not say so")

    def close(self) -> None:
        """Close all connections."""
        self.engine.dispose()


def connect(url: str, *, create: bool = True) -> Database:
    """Open the database; with `create` there may be none yet, which `upgrade` makes. This changes nothing.

    Without `create` the database must be there and up to date. Raises StorageError, never with the password.
    """
    parsed = _parse(url)
    if parsed.get_backend_name() == "sqlite":
        _check_file(parsed, create)
    db = Database(_make_engine(parsed))
    try:
        if _is_there(db):
            _try(db)
        if not create:
            _check_is_current(db)
    except BaseException:
        db.close()
        raise
    return db


def holds_tables(db: Database) -> bool:
    """Whether our tables are there, of any version; an SQLite file that is missing is not made."""
    if not _is_there(db):
        return False
    with db.begin_read() as connection:
        return _revision(connection) is not None


def upgrade(db: Database) -> None:
    """Create or migrate all tables, Optuna's and ours, in one transaction. Several processes may try at once.

    Raises StorageError where the database was made by a newer version.
    """
    if db.engine.dialect.name == "sqlite":
        _use_write_ahead_log(db)
    with db.begin_read() as connection:
        if _revision(connection) == HEAD:
            return
    with db.begin_write() as connection:
        revision = _revision(connection)
        if revision == HEAD:
            return
        _migrate(connection, revision)


def now(connection: sa.Connection) -> datetime:
    """The database's clock, aware, in UTC."""
    return connection.execute(sa.select(database_time())).scalar_one()


def _parse(url: str) -> sa.URL:
    try:
        parsed = sa.make_url(url)
        backend = parsed.get_backend_name()
    except (exc.ArgumentError, ValueError):
        # Neither the text nor the error may be shown: a password may be anywhere in them.
        shown = repr(url) if "://" not in url and "@" not in url else "one that cannot be parsed"
        raise StorageError(
            f"a database is given as a URL such as {DEFAULT_URL}, got {shown}; "
            f"write sqlite:///FILE, and escape special characters of a password as %XX"
        ) from None
    if backend not in DIALECTS:
        raise StorageError(f"a database must be one of {', '.join(DIALECTS)}, got {_shown(parsed)}; use {DEFAULT_URL}")
    return parsed


def _check_file(url: sa.URL, create: bool) -> None:
    if url.database in (None, "", ":memory:"):
        raise StorageError(
            f"a study must outlive the process, got {_shown(url)}, which is in memory; use {DEFAULT_URL}"
        )
    path = Path(str(url.database))
    if path.is_dir():
        raise StorageError(f"an SQLite database is a file, got the folder {str(path)!r}; name a file in it")
    if not path.parent.is_dir():
        raise StorageError(
            f"an SQLite file must be in a folder that exists, got {str(path)!r}; create the folder first"
        )
    if not create and not path.exists():
        raise StorageError(f"there must be a database to read, got {_shown(url)}; `hpo run` creates it")
    if not path.exists():
        try:
            tempfile.TemporaryFile(dir=path.parent).close()
        except OSError:
            raise StorageError(_explanation(url, "unable to open database file")) from None


def _make_engine(url: sa.URL) -> sa.Engine:
    settings: dict[str, Any] = {"json_serializer": partial(json.dumps, allow_nan=False)}
    if url.get_backend_name() == "sqlite":
        settings["connect_args"] = {"timeout": BUSY_SECONDS}
    else:
        settings |= {"isolation_level": "READ COMMITTED", "pool_pre_ping": True}
    try:
        engine = sa.create_engine(url, **settings)
    except (ImportError, exc.ArgumentError) as error:
        raise StorageError(
            f"a database needs its driver, got {_shown(url)}: {error}; install it or use {DEFAULT_URL}"
        ) from None
    if engine.dialect.name == "sqlite":
        sa.event.listen(engine, "connect", _set_pragmas)
        sa.event.listen(engine, "begin", _begin_sqlite)
    return engine


def _set_pragmas(connection: DBAPIConnection, record: ConnectionPoolEntry) -> None:
    connection.isolation_level = None  # Python's driver begins no transactions of its own
    cursor = connection.cursor()
    cursor.execute("PRAGMA foreign_keys=ON")
    cursor.execute("PRAGMA synchronous=NORMAL")
    cursor.close()


def _begin_sqlite(connection: sa.Connection) -> None:
    connection.exec_driver_sql(connection.get_execution_options().get("sqlite_begin", "BEGIN"))


def _is_there(db: Database) -> bool:
    return db.engine.dialect.name != "sqlite" or Path(str(db.engine.url.database)).exists()


def _try(db: Database) -> None:
    """StorageError where nothing can be read."""
    with db.begin_read() as connection:
        connection.execute(sa.text("PRAGMA schema_version" if db.engine.dialect.name == "sqlite" else "SELECT 1"))


def _use_write_ahead_log(db: Database) -> None:
    """Switch an SQLite file to its write-ahead log, which it keeps."""
    with _explained(db.engine.url), db.engine.connect() as connection:
        raw: Any = connection.connection.dbapi_connection
        deadline = time.monotonic() + BUSY_SECONDS
        while raw.execute("PRAGMA journal_mode").fetchone()[0] != "wal":
            try:
                raw.execute("PRAGMA journal_mode=WAL")
            except db.engine.dialect.loaded_dbapi.OperationalError as error:
                # SQLite does not wait here while another process does the same.
                if "locked" not in str(error) or time.monotonic() > deadline:
                    raise
                time.sleep(0.02)


def _revision(connection: sa.Connection) -> str | None:
    if not sa.inspect(connection).has_table(VERSION_TABLE):
        return None
    version = sa.table(VERSION_TABLE, sa.column("version_num", sa.String))
    return connection.scalar(sa.select(version.c.version_num))


def _check_is_current(db: Database) -> None:
    with db.begin_read() as connection:
        revision = _revision(connection)
    if revision == HEAD:
        return
    if revision is None:
        raise StorageError(f"a database must hold hpo's tables to be read, got {db.url}; `hpo run` creates them")
    _check_known(revision, db.url)
    raise StorageError(f"{db.url} must have schema {HEAD}, got the older {revision}; `hpo run` upgrades it")


def _check_known(revision: str, url: str) -> None:
    from alembic.script import ScriptDirectory

    known = [script.revision for script in ScriptDirectory.from_config(_config()).walk_revisions()]
    if revision not in known:
        raise StorageError(
            f"{url} must have a schema up to {HEAD}, which this version knows, got the newer {revision}; "
            f"use the newer version of hpo, or another database"
        )


def _migrate(connection: sa.Connection, revision: str | None) -> None:
    from alembic import command

    from storage.optuna import create_tables

    if revision is not None:
        _check_known(revision, _shown(connection.engine.url))
    create_tables(connection)
    config = _config()
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


def _config() -> "Config":
    from alembic.config import Config

    config = Config()
    folder = str(Path(__file__).parent / "migrations")
    config.set_main_option("script_location", folder.replace("%", "%%"))
    config.set_main_option("path_separator", "newline")
    return config


def _shown(url: sa.URL) -> str:
    """Without the password, which may also stand among the options behind the question mark."""
    return url.set(query={}).render_as_string(hide_password=True)


@contextmanager
def _explained(url: sa.URL) -> Iterator[None]:
    """Turn a driver's error into a StorageError that names the database."""
    try:
        yield
    except Exception as error:
        # Optuna's storage raises one of its own from it.
        driver = error if isinstance(error, exc.DBAPIError) else error.__cause__
        if not isinstance(driver, exc.DBAPIError) or not _is_outage(driver):
            raise
        raise StorageError(_explanation(url, driver.orig)) from error


def _is_outage(error: exc.DBAPIError) -> bool:
    """Locked, full, unreachable or no database; but not a violated constraint or a mistake in SQL."""
    operational = isinstance(error, exc.OperationalError | exc.InterfaceError)
    return operational or type(error) is exc.DatabaseError


def _explanation(url: sa.URL, error: object) -> str:
    remedy = "check that its folder and file can be written, and the disk has room"
    text = " ".join(str(error).split())
    if "not a database" in text:
        remedy = "it is some other file: name another one"
    elif "locked" in text:
        remedy = f"another process has held it for {BUSY_SECONDS:.0f} seconds: end that one"
    elif url.get_backend_name() != "sqlite":
        remedy = "check host, port, user and password, and that the server runs"
    return f"the database must be open to reading and writing, got {_shown(url)}: {text}; {remedy}"
