"""What is SQLite's own: its URLs, how its files are opened, also where nobody may write, and what its errors mean."""

import contextlib
import os
import shutil
import sqlite3
import stat
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from hpo.errors import StorageBusyError, StorageError, StorageRefusedError, do
from hpo_storage import sqlite_file
from hpo_storage.sqlite_file import (
    BUSY_SECONDS,
    LOG_ENDINGS,
    Connection,
    Held,
    OpenFile,
    code_of,
    held_by,
    open_connection,
    size_of,
)
from hpo_storage.urls import DEFAULT_URL, check_file_name, file_url

SETTLE_SECONDS = 1.0
"""Between two times that the log is written into the file."""
_DRIVERS = ("sqlite", "sqlite+pysqlite")
_COMMON = "check that its folder and file can be written, and the disk has room"
_REMEDIES = {
    sqlite3.SQLITE_BUSY: f"another process has held it for {BUSY_SECONDS:.0f} seconds: end that one",
    sqlite3.SQLITE_LOCKED: f"another process has held it for {BUSY_SECONDS:.0f} seconds: end that one",
    sqlite3.SQLITE_PROTOCOL: "its file system does not lock files as SQLite needs it: move it to a local disk",
    sqlite3.SQLITE_NOLFS: "its file system takes no file of that size: move it to another disk",
    sqlite3.SQLITE_FULL: "see that the disk has room, and that no quota is used up",
    sqlite3.SQLITE_IOERR: "its disk fails or is full, or is on another machine: see to it, and use a local one",
    sqlite3.SQLITE_CORRUPT: f"it is damaged: go back to a copy of it; {do('backup')} makes such copies",
    sqlite3.SQLITE_NOTADB: "it is some other file: name another one",
    sqlite3.SQLITE_PERM: _COMMON,
}
_AWAY = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_PROTOCOL)
_REFUSED = (
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_PERM,
    sqlite3.SQLITE_IOERR,
)


def checked_url(text: str, url: sa.URL) -> sa.URL:
    """The URL of an SQLite file as it was parsed; StorageError where a part of it would mean nothing."""
    if url.drivername not in _DRIVERS:
        raise StorageError(f"SQLite needs its driver, pysqlite, got {url.drivername}; write sqlite:///FILE")
    if url.host or url.username or url.password or url.port:
        raise StorageError(
            "the URL of an SQLite file has no host or user, got one; write sqlite:///FILE, three slashes"
        )
    if "?" in text:
        names = [option.partition("=")[0] for option in text.partition("?")[2].split("&")]
        raise StorageError(
            f"the URL of an SQLite file has no options, got ?{'&'.join(names)}; leave them out, or write %3F for a "
            f"question mark that belongs to the file's name"
        )
    return url


def check_file(url: sa.URL, create: bool) -> None:
    """StorageError where the URL names no file that is, or with `create` could be, a database."""
    if url.database in (None, "", ":memory:"):
        shown = url.render_as_string()
        raise StorageError(f"a study must outlive the process, got {shown}, which is in memory; use {DEFAULT_URL}")
    check_file_name(str(url.database))
    path = Path(str(url.database))
    try:
        there, in_folder = _mode(path), stat.S_ISDIR(_mode(path.parent) or 0)
    except OSError as error:
        raise StorageError(
            f"an SQLite file must have a path that can be followed, got {str(path)!r}: {error.strerror}; name another"
        ) from None
    if there is not None and not stat.S_ISREG(there):
        kind = f"the folder {str(path)!r}" if stat.S_ISDIR(there) else f"{str(path)!r}, a pipe, socket or device"
        raise StorageError(f"an SQLite database is a file, got {kind}; name a file{' in it' * stat.S_ISDIR(there)}")
    if not in_folder:
        raise StorageError(
            f"an SQLite file must be in a folder that exists, got {str(path)!r}; create the folder first"
        )
    if there is None and not create:
        raise StorageError(f"there must be a database to read, got {file_url(str(path))}; {do('run')} creates it")
    if there is None:
        try:
            tempfile.TemporaryFile(dir=path.parent).close()
        except OSError:
            raise StorageError(explanation(file_url(str(path)), "unable to open database file")) from None


def _mode(path: Path) -> int | None:
    """Of the file there; None where there is none."""
    try:
        return path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        return None


def listen(engine: sa.Engine, reads: Callable[[sa.Connection], bool]) -> None:
    """Open the engine's connections in our way, and look after its file with every transaction.

    A transaction takes the lock for writing at once, unless it only `reads`.
    """
    file = OpenFile(str(engine.url.database))
    sa.event.listen(engine, "do_connect", lambda *_: _connect(file))

    def prepare(connection: Connection, record: Any) -> None:  # noqa: ANN401 - of the pool
        connection.isolation_level = None  # Python's driver begins no transactions of its own
        connection.execute("PRAGMA foreign_keys=ON")
        connection.execute("PRAGMA synchronous=NORMAL")
        record.info["held"] = Held(file)

    def begin(connection: sa.Connection) -> None:
        sqlite_file.check(connection)
        connection.exec_driver_sql("BEGIN" if reads(connection) else "BEGIN IMMEDIATE")

    sa.event.listen(engine, "connect", prepare)
    sa.event.listen(engine, "begin", begin)


def _connect(file: OpenFile) -> Connection:
    """A connection to the file; only the first one of an engine makes one that is not there."""
    with sqlite_file.connecting(file) as there:
        if _is_writable(file.path):
            return open_connection(file.path, "rw" if there else "rwc")
        return _read(file.path)


def _is_writable(path: str) -> bool:
    """Whether the file, and beside it its log, can be written."""
    folder = Path(os.path.realpath(path)).parent
    return os.access(folder, os.W_OK) and (not Path(path).exists() or os.access(path, os.W_OK))


def is_writable(engine: sa.Engine) -> bool:
    """Whether this process may write the engine's file, and beside it its log."""
    return _is_writable(str(engine.url.database))


def _read(path: str) -> Connection:
    """A connection to a file that cannot be written, without any file beside it.

    Without a log the file holds all there is. With one, whoever works on the file shares its index with us, or else
    what both hold is put together in memory.
    """
    log, index = (os.path.realpath(path) + ending for ending in LOG_ENDINGS)
    if not size_of(log):
        return open_connection(path, "ro&immutable=1")
    if Path(index).exists():
        connection = open_connection(path, "ro")
        try:
            connection.execute("SELECT count(*) FROM sqlite_schema").fetchall()
        except sqlite3.OperationalError:
            connection.close()
        else:
            return connection
    connection = sqlite3.connect(":memory:", check_same_thread=False, factory=Connection)
    try:
        with tempfile.TemporaryDirectory(prefix="hpo-") as folder:
            copy = str(Path(folder, "hpo.db"))
            for ending in ("", LOG_ENDINGS[0]):
                shutil.copyfile(os.path.realpath(path) + ending, copy + ending)
            with contextlib.closing(open_connection(copy, "rw")) as source:
                source.backup(connection)
    except (OSError, sqlite3.Error) as error:
        raise StorageError(
            f"a file that cannot be written is read by way of a copy, because its log {Path(log).name} is not empty, "
            f"and {file_url(path)} could not be copied: {error}; make room for it where temporary files go"
        ) from None
    return connection


def checkpoint(connection: sa.Connection) -> None:
    """Write what the log holds into the file itself, as far as nobody is in the way; it waits for nobody.

    It waits for the disk, though: not more often than once a second.
    """
    file = held_by(connection)[0].file
    if time.monotonic() - file.settled < SETTLE_SECONDS:
        return
    file.settled = time.monotonic()
    with contextlib.suppress(sqlite3.OperationalError):
        held_by(connection)[1].execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()


def use_write_ahead_log(raw: Any, url: str) -> None:  # noqa: ANN401 - a connection of the driver's
    """Switch the file to its write-ahead log, which it keeps; StorageError where its file system can have none."""
    deadline = time.monotonic() + BUSY_SECONDS
    while raw.execute("PRAGMA journal_mode").fetchone()[0] != "wal":
        try:
            mode = raw.execute("PRAGMA journal_mode=WAL").fetchone()[0]
        except sqlite3.OperationalError as error:
            # SQLite does not wait here while another process does the same.
            if code_of(error) not in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED) or time.monotonic() > deadline:
                raise
            time.sleep(0.02)
        else:
            if mode != "wal":
                raise StorageError(explanation(url, "no write-ahead log", sqlite3.SQLITE_PROTOCOL))


def mark_as_own(connection: sa.Connection) -> None:
    """Give a file a number that tells it from all others, unless it has one."""
    if not connection.exec_driver_sql("PRAGMA application_id").scalar():
        number = int.from_bytes(os.urandom(4), "big") % (2**31 - 1) + 1
        connection.exec_driver_sql(f"PRAGMA application_id={number}")


def is_copy_without_log(connection: sa.Connection) -> bool:
    """Whether a file without any table was made to have a log beside it, which it has not."""
    header_only = connection.exec_driver_sql("SELECT count(*) FROM sqlite_schema").scalar() == 0
    path = os.path.realpath(str(connection.engine.url.database))
    return header_only and size_of(path) > 0 and connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"


def kind_of(error: object) -> type[StorageError]:
    """StorageBusyError where another process stood in the way, StorageRefusedError where the system said no."""
    if (code := code_of(error)) in _AWAY:
        return StorageBusyError
    return StorageRefusedError if code in _REFUSED else StorageError


def explanation(url: str, error: object, code: int | None = None) -> str:
    """What SQLite said, with what can be done about it."""
    text = " ".join(str(error).split())
    remedy = _REMEDIES.get(code_of(error) if code is None else code, _COMMON)
    if text.startswith("no such "):  # a table or column: of a general code, as mistakes in SQL are
        remedy = "its tables are not hpo's, or were changed by another program: go back to a copy"
    return f"the database must be open to reading and writing, got {url}: {text}; {remedy}"
