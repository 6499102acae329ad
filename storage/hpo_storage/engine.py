"""Engines for SQLite, PostgreSQL, MySQL and MariaDB, and what their errors mean to us.

On SQLite: write-ahead log, foreign keys, and `synchronous=NORMAL`, under which a power cut may lose the last
commits but never corrupts the file. On a server: READ COMMITTED; a statement that is not answered in time ends its
connection, waiting for another transaction's lock ends sooner than that, and the server itself ends a transaction
whose owner says nothing for that long, so that a paused process holds up nobody.
"""

import json
import logging
import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache, partial
from typing import Any

import sqlalchemy as sa
from sqlalchemy import exc
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.pool import ConnectionPoolEntry

from hpo.errors import StorageAwayError, StorageBusyError, StorageError
from hpo_storage.timing import answer_seconds
from hpo_storage.urls import DEFAULT_URL, database_url

DIALECTS = ("sqlite", "postgresql", "mysql", "mariadb")
BUSY_SECONDS = 60.0
"""How long a transaction waits for another process's lock on SQLite."""
CONNECT_SECONDS = 20.0
"""How long a connection is tried for again where the server has too many."""
CONNECT_PAUSE = 0.25
LOCK_SHARE = 2 / 3
"""Of the time for an answer: how long a statement waits for another transaction's lock."""
IDLE_SECONDS = 1.0
"""A connection that was not used for so long is tried before it is used again."""
POOL_SIZE = 2
"""A process works in one thread and says in another that it lives."""

_POOL_NAME = "hpo"
_BUSY = {"40001", "40P01", "55P03", 1205, 1213}
"""SQLSTATE of PostgreSQL, codes of MySQL: a serialization failure, a deadlock, a lock waited for too long."""
_FULL_HOUSE = ("too many clients", "connection slots are reserved", "too many connections")
_REFUSED = ("authentication failed", "does not exist", "no pg_hba.conf entry", "no password supplied")
_READ_ONLY = {"25006", 1290, 1836, 1047}
"""After a failover, until this host's name leads to the new primary: read-only, or not yet a node of a cluster."""
_LOST_BY_MYSQL = {1053, 1077, 1079, 1080, 1152, 1158, 1159, 1160, 1161, 1184, 1927, 4031, *range(2000, 3000)}


def parse_url(text: str) -> sa.URL:
    """The URL with the driver we use; StorageError, never with the password, where it is none of ours."""
    try:
        parsed = sa.make_url(text)
        backend = parsed.get_backend_name()
    except (exc.ArgumentError, ValueError):
        # Neither the text nor the error may be shown: a password may be anywhere in them.
        shown = repr(text) if "://" not in text and "@" not in text else "one that cannot be parsed"
        raise StorageError(
            f"a database is given as a URL such as {DEFAULT_URL}, got {shown}; "
            f"write sqlite:///FILE, and escape special characters of a password as %XX"
        ) from None
    if backend != "sqlite" and text.count("@") > 1:
        # Host and database would hold, and show, what follows the first one.
        raise StorageError(
            "a database's URL must have one @, before the host, got several; escape those of user and password as %40"
        )
    if backend not in (*DIALECTS, "postgres"):
        raise StorageError(
            f"a database must be one of {', '.join(DIALECTS)}, got {shown_url(parsed)}; use {DEFAULT_URL}"
        )
    return sa.make_url(database_url(text))


def shown_url(url: sa.URL) -> str:
    """Without the password, which may also stand among the options behind the question mark."""
    return url.set(query={}).render_as_string(hide_password=True)


def make_engine(url: sa.URL, *, answer: float | None = None) -> sa.Engine:
    """An engine that has not connected yet; `answer` are the seconds it waits for one, by default the usual ones.

    StorageError where the driver is missing.
    """
    settings: dict[str, Any] = {"json_serializer": partial(json.dumps, allow_nan=False), "pool_size": POOL_SIZE}
    if url.get_backend_name() == "sqlite":
        settings["connect_args"] = {"timeout": BUSY_SECONDS}
    else:
        settings |= {"isolation_level": "READ COMMITTED", "pool_logging_name": _POOL_NAME}
        # It would show a traceback where a connection that is lost cannot be rolled back; whoever used it is told.
        logging.getLogger(f"sqlalchemy.pool.impl.QueuePool.{_POOL_NAME}").setLevel(logging.CRITICAL)
        if url.get_backend_name() == "postgresql":  # of a database without an encoding texts would be bytes
            settings["connect_args"] = {"client_encoding": "utf8"}
    try:
        engine = sa.create_engine(url, **settings)
    except (ImportError, exc.ArgumentError) as error:
        raise StorageError(
            f"a database needs its driver, got {shown_url(url)}: {error}; install it or use {DEFAULT_URL}"
        ) from None
    if engine.dialect.name == "sqlite":
        sa.event.listen(engine, "connect", _set_pragmas)
        sa.event.listen(engine, "begin", _begin_sqlite)
    else:
        seconds = answer or answer_seconds()
        sa.event.listen(engine, "do_connect", partial(_connect, engine, seconds))
        sa.event.listen(engine, "connect", partial(_limit_waiting, seconds))
        sa.event.listen(engine, "handle_error", _leave_read_only)
        sa.event.listen(engine, "connect", _note_use)
        sa.event.listen(engine, "checkin", _note_use)
        sa.event.listen(engine, "checkout", partial(_try_again, engine.dialect))
    return engine


def _set_pragmas(connection: DBAPIConnection, record: ConnectionPoolEntry) -> None:
    connection.isolation_level = None  # Python's driver begins no transactions of its own
    cursor = connection.cursor()
    cursor.execute("PRAGMA foreign_keys=ON")
    cursor.execute("PRAGMA synchronous=NORMAL")
    cursor.close()


def _begin_sqlite(connection: sa.Connection) -> None:
    connection.exec_driver_sql(connection.get_execution_options().get("sqlite_begin", "BEGIN"))


def _connect(
    engine: sa.Engine,
    seconds: float,
    dialect: sa.Dialect,
    record: ConnectionPoolEntry,
    arguments: tuple[Any, ...],
    settings: dict[str, Any],
) -> DBAPIConnection:
    """Connect, waiting for a while where the server has too many connections."""
    settings.setdefault("connect_timeout", max(2, math.ceil(seconds)))
    if dialect.driver == "pymysql":
        settings |= {"read_timeout": seconds, "write_timeout": seconds}
        connect = dialect.loaded_dbapi.connect
    else:
        connect = _impatient_psycopg(seconds).connect
    deadline = time.monotonic() + CONNECT_SECONDS
    while True:
        try:
            connection: DBAPIConnection = connect(*arguments, **settings)
            return connection
        except dialect.loaded_dbapi.OperationalError as error:
            if not _is_full_house(error) or time.monotonic() >= deadline:
                raise
        time.sleep(CONNECT_PAUSE)


@cache
def _impatient_psycopg(seconds: float) -> Any:  # noqa: ANN401 - a class of a driver that is loaded when needed
    """psycopg's connection, given up where a statement is not answered in time."""
    import psycopg

    class ImpatientConnection(psycopg.Connection[Any]):
        def wait(self, gen: Any, interval: float = 0.1, timeout: float | None = None) -> Any:  # noqa: ANN401
            try:
                return super().wait(gen, interval, timeout or seconds)
            except psycopg.errors._WaitTimeout:
                self.pgconn.finish()
                raise psycopg.OperationalError(f"no answer for {seconds:g} seconds") from None

    return ImpatientConnection


def _limit_waiting(seconds: float, connection: Any, record: ConnectionPoolEntry) -> None:  # noqa: ANN401 - a driver's
    """Locks are waited for, and transactions may be silent, for a time only."""
    lock = seconds * LOCK_SHARE
    if hasattr(connection, "pgconn"):
        statement = f"SET lock_timeout = {lock * 1000:.0f}; SET idle_in_transaction_session_timeout = "
        statement += f"{seconds * 1000:.0f}"
    else:
        # MySQL has no limit of its own for transactions: there an idle connection ends, and the pool makes another.
        idle = "idle_transaction_timeout" if "MariaDB" in connection.get_server_info() else "wait_timeout"
        statement = f"SET SESSION innodb_lock_wait_timeout = {math.ceil(lock)}, SESSION {idle} = {math.ceil(seconds)}"
    with connection.cursor() as cursor:
        cursor.execute(statement)
    connection.commit()


def _note_use(connection: DBAPIConnection | None, record: ConnectionPoolEntry) -> None:
    record.info["used"] = time.monotonic()


def _try_again(dialect: sa.Dialect, connection: DBAPIConnection, record: ConnectionPoolEntry, proxy: object) -> None:
    """Replace a connection that has been idle and lost; one that was just used is not worth a round trip."""
    if time.monotonic() - record.info.get("used", -math.inf) < IDLE_SECONDS:
        return
    try:
        dialect.do_ping(connection)
    except dialect.loaded_dbapi.Error:
        raise exc.DisconnectionError from None


def _leave_read_only(context: sa.ExceptionContext) -> None:
    """Whoever cannot write any more is gone as the database; the next connection may reach the new primary."""
    if error_code(context.original_exception) in _READ_ONLY:
        context.is_disconnect = True


@contextmanager
def explained(engine: sa.Engine) -> Iterator[None]:
    """Turn a driver's error into a StorageError that names the database."""
    try:
        yield
    except exc.DBAPIError as error:
        if not _is_outage(error):
            raise
        kind = StorageAwayError if error.connection_invalidated else _kind(error.orig, engine)
        raise kind(explanation(engine.url, error.orig)) from error
    except engine.dialect.loaded_dbapi.Error as error:
        # Not all that SQLAlchemy does with a connection wraps what the driver raises.
        raise _kind(error, engine)(explanation(engine.url, error)) from error


def _is_outage(error: exc.DBAPIError) -> bool:
    """Locked, full, unreachable or no database; but not a violated constraint or a mistake in SQL."""
    operational = isinstance(error, exc.OperationalError | exc.InterfaceError)
    return operational or type(error) is exc.DatabaseError or error.connection_invalidated


def _kind(error: object, engine: sa.Engine) -> type[StorageError]:
    text, code = str(error).lower(), error_code(error)
    if engine.dialect.name == "sqlite":
        return StorageBusyError if "locked" in text else StorageError
    if code in _BUSY:
        return StorageBusyError
    if _is_full_house(error):
        return StorageAwayError
    if engine.dialect.name == "postgresql":
        lost = code is None or str(code)[:2] in ("08", "57")
        return StorageAwayError if lost and not any(phrase in text for phrase in _REFUSED) else StorageError
    return StorageAwayError if code in _LOST_BY_MYSQL else StorageError


def error_code(error: object) -> object:
    """SQLSTATE or number, None where the driver gives none."""
    arguments = getattr(error, "args", ())
    if arguments and isinstance(arguments[0], int):
        return arguments[0]
    return getattr(error, "sqlstate", None)


def _is_full_house(error: object) -> bool:
    text = str(error).lower()
    return any(phrase in text for phrase in _FULL_HOUSE) or error_code(error) in ("53300", 1040, 1203, 1226)


def explanation(url: sa.URL, error: object) -> str:
    """What the driver said, with what can be done about it."""
    remedy = "check that its folder and file can be written, and the disk has room"
    text = " ".join(str(error).split())
    if "not a database" in text:
        remedy = "it is some other file: name another one"
    elif "locked" in text and url.get_backend_name() == "sqlite":
        remedy = f"another process has held it for {BUSY_SECONDS:.0f} seconds: end that one"
    elif _is_full_house(error):
        remedy = f"none became free in {CONNECT_SECONDS:.0f} seconds: end other programs, or allow the server more"
    elif url.get_backend_name() != "sqlite":
        remedy = "check host, port, user and password, and that the server runs"
    return f"the database must be open to reading and writing, got {shown_url(url)}: {text}; {remedy}"
