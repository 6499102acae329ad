"""From a URL to an open database whose tables are up to date.

On SQLite a write transaction takes the write lock when it begins and waits for it.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import sqlalchemy as sa

from hpo.errors import StorageError, do
from hpo_storage import sqlite, sqlite_file
from hpo_storage.engine import explained, make_engine, parse_url, reading
from hpo_storage.gone import all_there
from hpo_storage.migrations import HEAD, VERSION_TABLE
from hpo_storage.refusals import error_code
from hpo_storage.retry import NO_PATIENCE, Patience, retried
from hpo_storage.tables import METADATA, STUDIES, database_time
from hpo_storage.urls import shown_url

if TYPE_CHECKING:
    from alembic.config import Config

UPGRADE_SECONDS = 600.0
"""How long one statement of an upgrade may take, and how long another process's upgrade is waited for."""

_IS_THERE = {1050, 1060, 1061, 1826}
"""Codes of MySQL: a table, column, index or reference that is to be made exists."""
_LOCK_NUMBER = 0x68706F
"""Of PostgreSQL's advisory lock that an upgrade holds."""


@dataclass(frozen=True)
class Database:
    """An open database. It never shows its password."""

    engine: sa.Engine = field(repr=False)
    patience: Patience = field(default=NO_PATIENCE, repr=False)
    """With which it is asked again while it is away."""

    @property
    def url(self) -> str:
        """For messages: without the password."""
        return shown_url(self.engine.url)

    @property
    def on_sqlite(self) -> bool:
        """Whether it is a file, with one writer at a time."""
        return self.engine.dialect.name == "sqlite"

    @property
    def impatient(self) -> "Database":
        """The same, for whoever has other things to do while it is away."""
        return replace(self, patience=NO_PATIENCE)

    @contextmanager
    def begin_read(self) -> Iterator[sa.Connection]:
        """One transaction that sees one state of the database; StorageError where it cannot be read."""
        with self._begin(reading(self.engine)) as connection:
            yield connection

    @contextmanager
    def begin_write(self) -> Iterator[sa.Connection]:
        """One transaction that may write, committed at the end of the block and rolled back on an error.

        StorageRefusedError where the database cannot be written, StorageAwayError where it does not answer or stays
        locked, and StorageBusyError where the transaction stood in the way of another one. StudyNotFoundError where
        what it writes belongs to rows that have been deleted.
        """
        with all_there(), self._begin(self.engine) as connection:
            yield connection

    @contextmanager
    def _begin(self, engine: sa.Engine) -> Iterator[sa.Connection]:
        with explained(engine), engine.connect() as connection:
            try:
                with connection.begin():
                    yield connection
                    if self.on_sqlite:
                        sqlite_file.note(connection)
            finally:
                if self.on_sqlite:  # what was done is done only where the database's name still leads to it
                    sqlite_file.check(connection)

    def settle(self) -> None:
        """Write what is committed into an SQLite file itself, now and then: a copy of it alone then lacks little."""
        if self.on_sqlite:
            with explained(self.engine), self.engine.connect() as connection:
                sqlite.checkpoint(connection)

    def close(self) -> None:
        """Close all connections."""
        self.engine.dispose()


def connect(url: str, *, create: bool = True, patience: Patience = NO_PATIENCE) -> Database:
    """Open the database; with `create` there may be none yet, which `upgrade` makes. This changes nothing.

    Without `create` the database must be there and up to date. Raises StorageError, never with the password.
    """
    parsed = parse_url(url)
    if parsed.get_backend_name() == "sqlite":
        sqlite.check_file(parsed, create)
    db = Database(make_engine(parsed), patience)
    try:
        if _is_there(db):
            _try(db)
        if not create:
            _check_is_current(db)
    except BaseException:
        db.close()
        raise
    return db


@retried
def schema(db: Database) -> str | None:
    """The revision of our tables, None where there are none; an SQLite file that is missing is not made."""
    if not _is_there(db):
        return None
    with db.begin_read() as connection:
        return _revision(connection)


def holds_tables(db: Database) -> bool:
    """Whether our tables are there, of any version."""
    return schema(db) is not None


def prepare(db: Database) -> None:
    """Make the tables; older ones that hold studies are migrated in an SQLite file only.

    StorageError where a server has an older schema, or any database a newer one.
    """
    _upgrade(db, on_servers=False)


def upgrade(db: Database) -> None:
    """Create or migrate all tables, Optuna's and ours. Several processes may try at once.

    One transaction, except on MySQL and MariaDB, which commit each change of a table; there a lock is held
    meanwhile. Raises StorageError where the database was made by a newer version.
    """
    _upgrade(db, on_servers=True)


@retried
def _upgrade(db: Database, *, on_servers: bool) -> None:
    """With `on_servers` also where a server's tables hold studies."""
    if db.on_sqlite and (not _is_there(db) or sqlite.is_writable(db.engine)):
        with explained(db.engine), db.engine.connect() as connection:
            sqlite.use_write_ahead_log(connection.connection.dbapi_connection, db.url)
    with db.begin_read() as connection:
        if _revision(connection) == HEAD:
            return
    patient = Database(make_engine(db.engine.url, answer=UPGRADE_SECONDS))
    try:
        with _upgrading(patient) as connection:
            revision = _revision(connection)  # looked at again: another process may just have made the tables
            if revision == HEAD:
                return
            if revision is not None:
                _check_known(revision, db.url)
                if not (db.on_sqlite or on_servers) and _holds_studies(connection):
                    raise _older(revision, db.url)
            _migrate(connection)
    finally:
        patient.close()
    db.settle()


@contextmanager
def _upgrading(db: Database) -> Iterator[sa.Connection]:
    """A transaction for an upgrade, one at a time."""
    with explained(db.engine), db.engine.connect() as connection:
        match db.engine.dialect.name:
            case "sqlite":
                # Tables are made anew where SQLite cannot change them; rows that refer to them must not mind.
                connection.connection.cursor().execute("PRAGMA foreign_keys=OFF")
                with connection.begin():
                    yield connection
                    if broken := connection.exec_driver_sql("PRAGMA foreign_key_check").all():
                        raise RuntimeError(f"the upgrade would break references: {broken[:3]}")
            case "postgresql":
                with connection.begin():
                    connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_LOCK_NUMBER)))
                    yield connection
            case _:
                sa.event.listen(connection, "before_cursor_execute", _distinguish_case, retval=True)
                lock = sa.func.concat("hpo upgrade ", sa.func.md5(sa.func.database()))
                with connection.begin():
                    if not connection.scalar(sa.select(sa.func.get_lock(lock, UPGRADE_SECONDS / 2))):
                        raise StorageError(f"one process upgrades {db.url} at a time; wait for the other one")
                    yield connection
                    connection.execute(sa.select(sa.func.release_lock(lock)))


def _distinguish_case(
    connection: sa.Connection, cursor: object, statement: str, parameters: object, *others: object
) -> tuple[str, object]:
    """Let names that differ only in case or accents differ, and hold any character, on MySQL and MariaDB."""
    if statement.lstrip().startswith("CREATE TABLE"):
        statement += " CHARACTER SET utf8mb4 COLLATE utf8mb4_bin"
    return statement, parameters


def now(connection: sa.Connection) -> datetime:
    """The database's clock, aware, in UTC."""
    return connection.execute(sa.select(database_time())).scalar_one()


def _is_there(db: Database) -> bool:
    return not db.on_sqlite or Path(str(db.engine.url.database)).exists()


@retried
def _try(db: Database) -> None:
    """StorageError where nothing can be read."""
    with db.begin_read() as connection:
        connection.execute(sa.text("PRAGMA schema_version" if db.on_sqlite else "SELECT 1"))


def _revision(connection: sa.Connection) -> str | None:
    if not sa.inspect(connection).has_table(VERSION_TABLE):
        return None
    version = sa.table(VERSION_TABLE, sa.column("version_num", sa.String))
    return connection.scalar(sa.select(version.c.version_num))


def _check_is_current(db: Database) -> None:
    revision = schema(db)
    if revision == HEAD:
        return
    if revision is None and db.on_sqlite and _lacks_its_log(db):
        raise StorageError(
            f"a copy of a file that is in use needs what lies beside it, got {db.url} without its -wal; "
            f"copy it with {do('backup')}"
        )
    if revision is None:
        raise StorageError(f"a database must hold hpo's tables to be read, got {db.url}; {do('run')} creates them")
    _check_known(revision, db.url)
    if db.on_sqlite and not sqlite.is_writable(db.engine):
        raise StorageError(
            f"{db.url} must have schema {HEAD}, got the older {revision}, and it cannot be written; "
            f"copy it to a folder of yours with {do('backup')}, and run {do('upgrade')} on the copy"
        )
    raise _older(revision, db.url)


def _lacks_its_log(db: Database) -> bool:
    with db.begin_read() as connection:
        return sqlite.is_copy_without_log(connection)


def _older(revision: str, url: str) -> StorageError:
    return StorageError(f"{url} must have schema {HEAD}, got the older {revision}; run {do('upgrade')}")


def _check_known(revision: str, url: str) -> None:
    from alembic.script import ScriptDirectory

    known = [script.revision for script in ScriptDirectory.from_config(_config()).walk_revisions()]
    if revision not in known:
        raise StorageError(
            f"{url} must have a schema up to {HEAD}, which this version knows, got the newer {revision}; "
            f"use the newer version of hpo, or another database"
        )


def _holds_studies(connection: sa.Connection) -> bool:
    there = sa.inspect(connection).has_table(STUDIES.name)
    return there and connection.scalar(sa.select(STUDIES.c.id).limit(1)) is not None


def _migrate(connection: sa.Connection) -> None:
    from alembic import command

    from hpo_storage.optuna import create_tables

    if connection.dialect.name in ("mysql", "mariadb") and not _holds_studies(connection):
        _drop_tables(connection)  # each was committed: a first start that was broken off may have left some
    if connection.dialect.name == "sqlite":
        sqlite.mark_as_own(connection)
    create_tables(connection)
    config = _config()
    config.attributes["connection"] = connection
    try:
        command.upgrade(config, "head")
    except sa.exc.DBAPIError as error:
        if error_code(error.orig) not in _IS_THERE:
            raise
        raise StorageError(
            f"an upgrade on MySQL or MariaDB must run to its end, got the tables of one that was broken off in "
            f"{shown_url(connection.engine.url)}; restore the copy made before it, and run {do('upgrade')} again"
        ) from error


def _drop_tables(connection: sa.Connection) -> None:
    METADATA.drop_all(connection)
    sa.Table(VERSION_TABLE, sa.MetaData()).drop(connection, checkfirst=True)


def _config() -> "Config":
    from alembic.config import Config

    config = Config()
    folder = str(Path(__file__).parent / "migrations")
    config.set_main_option("script_location", folder.replace("%", "%%"))
    config.set_main_option("path_separator", "newline")
    return config
