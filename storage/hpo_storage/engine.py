"""Engines for SQLite, PostgreSQL, MySQL and MariaDB.

On SQLite: write-ahead log, foreign keys, and `synchronous=NORMAL`, under which a power cut may lose the last
commits but never corrupts the file. On a server: READ COMMITTED; a statement that is not answered in time ends its
connection, waiting for another transaction's lock ends sooner than that, and the server itself ends a transaction
whose owner says nothing for that long, so that a paused process holds up nobody.

Poolers may give each transaction another session of the server. So transactions begin in words of ours, which say on
PostgreSQL all that holds for them, and nothing is prepared. MySQL has no settings of a transaction: there another
session may wait longer for a lock, until the answer is given up, and that is all.
"""

import difflib
import json
import logging
import math
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache, partial
from typing import Any

import sqlalchemy as sa
from sqlalchemy import exc
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.pool import ConnectionPoolEntry

from hpo.errors import StorageError, StorageHostError
from hpo_storage import sqlite
from hpo_storage.refusals import READ_ONLY, error_code, refusal
from hpo_storage.timing import answer_seconds
from hpo_storage.urls import DEFAULT_URL, DRIVERS, database_url, redacted, shown_url

DIALECTS = ("sqlite", "postgresql", "mysql", "mariadb")
LOCK_SHARE = 2 / 3
"""Of the time for an answer: how long a statement waits for another transaction's lock."""
IDLE_SECONDS = 1.0
"""A connection that was not used for so long is tried before it is used again."""
POOL_SIZE = 2
"""A process works in one thread and says in another that it lives."""

_POOL_NAME = "hpo"
_HOST = re.compile(r"[\w.,-]*|[\da-fA-F:.]+(%\w+)?")
_HARMLESS = re.compile(r":memory:|(?!.*//)[\w./\\ -]*")
_PASSWORD_OPTIONS = ("password", "passwd")


def parse_url(text: str) -> sa.URL:
    """The URL with the driver we use; StorageError, which shows nothing that may be a password, where it is no URL of
    ours."""
    try:
        parsed = sa.make_url(database_url(text) if "://" in text else text)
    except (exc.ArgumentError, ValueError):
        shown = repr(text) if _HARMLESS.fullmatch(text) else "one that cannot be parsed"
        remedy = "and escape special characters of a password as %XX"
        if "://" not in text:
            remedy = "or a name that ends in .db, with ./ before one with a colon"
        raise StorageError(
            f"a database is given as a URL such as {DEFAULT_URL}, got {shown}; "
            f"write sqlite:///FILE or postgresql://USER@HOST/NAME, {remedy}"
        ) from None
    scheme, _, driver = parsed.drivername.partition("+")
    if scheme not in DIALECTS:
        near = difflib.get_close_matches(scheme, DIALECTS, 1)
        raise StorageError(
            f"a database must be one of {', '.join(DIALECTS)}, got another kind; "
            f"use {f'{near[0]}://...' if near else DEFAULT_URL}"
        )
    if scheme == "sqlite":
        return sqlite.checked_url(text, parsed)
    if driver and DRIVERS[scheme] != parsed.drivername:
        raise StorageError(f"a database needs its driver, got one that hpo does not use; write {scheme}://...")
    _check_parts(text, parsed)
    for name in set(_PASSWORD_OPTIONS) & set(parsed.query):  # among options it would be shown here and there
        parsed = parsed.set(password=str(parsed.query[name])).difference_update_query([name])
    return parsed


def _check_parts(text: str, url: sa.URL) -> None:
    """StorageError where a part of the URL holds what cannot belong there, and so may be of a password."""
    if text.partition("?")[0].count("@") > 1:
        raise StorageError(
            "a database's URL must have one @, before the host, got several; escape those of user and password as %40"
        )
    user, database = url.username or "", url.database or ""
    if ":" in user or re.search("[@=:?]", database) or not _HOST.fullmatch(url.host or ""):
        raise StorageError(
            "a database's URL must be like postgresql://USER:PASSWORD@HOST:PORT/NAME, got one with other characters in "
            "user, host or name; escape special characters of user and password as %XX"
        )


def make_engine(url: sa.URL, *, answer: float | None = None) -> sa.Engine:
    """An engine that has not connected yet; `answer` are the seconds it waits for one, by default the usual ones.

    StorageError where the driver is missing, or an option of the URL has no meaning for it.
    """
    settings: dict[str, Any] = {"json_serializer": partial(json.dumps, allow_nan=False), "pool_size": POOL_SIZE}
    if url.get_backend_name() != "sqlite":
        settings |= {"isolation_level": "AUTOCOMMIT", "pool_logging_name": _POOL_NAME}  # we begin transactions
        # It would show a traceback where a connection that is lost cannot be rolled back; whoever used it is told.
        logging.getLogger(f"sqlalchemy.pool.impl.QueuePool.{_POOL_NAME}").setLevel(logging.CRITICAL)
        if (driver := logging.getLogger("psycopg")).level == logging.NOTSET:
            driver.setLevel(logging.ERROR)  # it warns of the same, and names hosts that may be pieces of a password
    try:
        engine = sa.create_engine(url, **settings)
    except FileNotFoundError:
        raise StorageError(
            f"a name needs the folder it is looked for in, got {shown_url(url)} in one that was removed; go to another"
        ) from None
    except ImportError as error:
        raise StorageError(
            f"a database needs its driver, got {shown_url(url)}: {error}; install it or use {DEFAULT_URL}"
        ) from None
    except (TypeError, ValueError, exc.ArgumentError) as error:
        raise wrong_options(url, error) from None
    if engine.dialect.name == "sqlite":
        sqlite.listen(engine, _reads)
        return engine
    seconds = answer or answer_seconds()
    sa.event.listen(engine, "do_connect", partial(_connect, url, seconds))
    if engine.dialect.name == "postgresql":
        engine.dialect.use_insertmanyvalues_wo_returning = True  # else each row is a statement of its own
        sa.event.listen(engine, "begin", partial(_begin_postgresql, seconds))
    else:
        sa.event.listen(engine, "connect", partial(_set_session, seconds))
        sa.event.listen(engine, "begin", _begin_mysql)
    sa.event.listen(engine, "handle_error", _leave_read_only)
    sa.event.listen(engine, "connect", _note_use)
    sa.event.listen(engine, "checkin", _note_use)
    sa.event.listen(engine, "checkout", partial(_try_again, engine.dialect))
    return engine


def reading(engine: sa.Engine) -> sa.Engine:
    """The engine for transactions that see one state of the database, and write nothing."""
    return engine.execution_options(hpo_reads=True)


def _reads(connection: sa.Connection) -> bool:
    return bool(connection.get_execution_options().get("hpo_reads"))


def _begin_postgresql(seconds: float, connection: sa.Connection) -> None:
    """In one round trip: locks are waited for, and this transaction may be silent, for a time only."""
    level = "REPEATABLE READ" if _reads(connection) else "READ COMMITTED"
    connection.exec_driver_sql(
        f"BEGIN ISOLATION LEVEL {level}; SET LOCAL lock_timeout = {seconds * LOCK_SHARE * 1000:.0f}; "
        f"SET LOCAL idle_in_transaction_session_timeout = {seconds * 1000:.0f}",
        execution_options={"no_parameters": True},  # with parameters it would have to be one statement
    )


def _set_session(seconds: float, connection: Any, record: ConnectionPoolEntry) -> None:  # noqa: ANN401 - a driver's
    # MySQL has no limit of its own for transactions: there an idle connection ends, and the pool makes another.
    idle = "idle_transaction_timeout" if "MariaDB" in connection.get_server_info() else "wait_timeout"
    limits = f"innodb_lock_wait_timeout = {math.ceil(seconds * LOCK_SHARE)}, SESSION {idle} = {math.ceil(seconds)}"
    with connection.cursor() as cursor:
        cursor.execute("SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED")
        cursor.execute(f"SET SESSION {limits}")


def _begin_mysql(connection: sa.Connection) -> None:
    if _reads(connection):
        connection.exec_driver_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
    connection.exec_driver_sql("BEGIN")


def _connect(
    url: sa.URL,
    seconds: float,
    dialect: sa.Dialect,
    record: ConnectionPoolEntry,
    arguments: tuple[Any, ...],
    settings: dict[str, Any],
) -> DBAPIConnection:
    """Connect with the driver's settings; StorageError where an option of the URL is none of them."""
    connect = dialect.loaded_dbapi.connect
    settings.setdefault("connect_timeout", max(2, math.ceil(seconds)))
    if dialect.driver == "pymysql":
        settings |= {"read_timeout": seconds, "write_timeout": seconds}
    else:  # of a database without an encoding texts would be bytes
        settings |= {"client_encoding": "utf8", "prepare_threshold": None}
        connect = _impatient_psycopg(seconds).connect
    try:
        connection: DBAPIConnection = connect(*arguments, **settings)
    except (TypeError, ValueError, LookupError, AttributeError, dialect.loaded_dbapi.ProgrammingError) as error:
        if not url.query or error_code(error) is not None:
            raise
        raise wrong_options(url, error) from None
    return connection


def wrong_options(url: sa.URL, error: Exception) -> StorageError:
    """What to tell where a driver refuses the options of a URL."""
    names = ", ".join(sorted(url.query))
    return StorageError(
        f"the options of a database's URL must be ones that its driver takes, got {names} for {shown_url(url)}: "
        f"{redacted(str(error), url)}; correct them, or leave them away"
    )


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
    if error_code(context.original_exception) in READ_ONLY:
        context.is_disconnect = True


@contextmanager
def explained(engine: sa.Engine) -> Iterator[None]:
    """Turn a driver's error into a StorageError that names the database; a mistake in SQL, or a violated constraint,
    passes."""
    try:
        yield
    except (exc.DBAPIError, engine.dialect.loaded_dbapi.Error) as error:
        # Not all that SQLAlchemy does with a connection wraps what the driver raises.
        told = refusal(engine, error)
        if told is None:
            raise
        raise told from (None if isinstance(told, StorageHostError) else error)  # which names the host
