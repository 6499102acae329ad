"""What is SQLite's own: the file behind a database, as long as it is that file, and also where nobody may write.

A process holds a file open whatever becomes of its name. So every transaction begins, and ends, with a look at whether
the name still leads to the open file, its log and its index of the log; SQLite itself tells files apart in that way.
"""

import contextlib
import os
import shutil
import sqlite3
import stat
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import sqlalchemy as sa

from hpo.errors import StorageBusyError, StorageError, do, use
from hpo_storage.urls import DEFAULT_URL, check_file_name, file_url

BUSY_SECONDS = 60.0
"""How long a transaction waits for another process's lock."""
COPY_PAGES = 1000
"""Copied at once, between two reports of how far a copy is."""
LOG_ENDINGS = ("-wal", "-shm")
_DRIVERS = ("sqlite", "sqlite+pysqlite")
_OVERWRITTEN = "overwritten with another file"
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
_rescuing = threading.Lock()
_rescued: dict["Identity", str] = {}
"""What was said of files that are gone: one copy of what they held is enough for a process."""


class Identity(NamedTuple):
    """What tells one file from another, whatever their names."""

    device: int
    number: int


@dataclass(slots=True)
class OpenFile:
    """The file that the connections of one engine hold open, None before the first one."""

    path: str
    identity: Identity | None = None
    application: int = 0
    stamp: tuple[int, int] | None = None


@dataclass(slots=True)
class Held:
    """What one connection holds open: the engine's file, and once it has read, the log and its index by their names."""

    file: OpenFile
    logs: dict[str, Identity] = field(default_factory=dict)


class Connection(sqlite3.Connection):
    """A connection that may stay open for good.

    The last one that closes writes its log into the file, which must not happen where the file is another by now.
    """

    stays = False

    def close(self) -> None:
        """Close, unless it must not be closed."""
        if self.stays:
            import ctypes

            ctypes.pythonapi.Py_IncRef(ctypes.py_object(self))  # or else it would be closed when it is forgotten
        else:
            super().close()


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


def listen(engine: sa.Engine) -> None:
    """Open the engine's connections in our way, and look after its file with every transaction."""
    file = OpenFile(str(engine.url.database))
    sa.event.listen(engine, "do_connect", lambda *_: _connect(file))

    def prepare(connection: Connection, record: Any) -> None:  # noqa: ANN401 - of the pool
        connection.isolation_level = None  # Python's driver begins no transactions of its own
        connection.execute("PRAGMA foreign_keys=ON")
        connection.execute("PRAGMA synchronous=NORMAL")
        record.info["held"] = Held(file)

    sa.event.listen(engine, "connect", prepare)
    sa.event.listen(engine, "begin", _begin)


def _begin(connection: sa.Connection) -> None:
    check(connection)
    connection.exec_driver_sql(connection.get_execution_options().get("sqlite_begin", "BEGIN"))


def _connect(file: OpenFile) -> Connection:
    """A connection to the file; only the first one of an engine makes one that is not there."""
    before = _identity(file.path)
    if file.identity not in (None, before):
        raise StorageError(_rescued.get(file.identity) or _gone(file.path, _by_name(before), "go back to a copy"))
    connection = _open(file.path, "rwc" if before is None else "rw") if _is_writable(file.path) else _read(file.path)
    after = _identity(file.path)
    if after is None or before not in (None, after):
        connection.close()
        raise StorageError(_gone(file.path, _by_name(after), "do the same again"))
    if file.identity is None:
        _rescued.pop(after, None)  # the number of a file that is gone may be another's by now
    file.identity = after
    return connection


def _open(path: str, mode: str) -> Connection:
    address = f"{Path(path).absolute().as_uri()}?mode={mode}"
    return sqlite3.connect(address, uri=True, timeout=BUSY_SECONDS, check_same_thread=False, factory=Connection)


def _is_writable(path: str) -> bool:
    """Whether the file, and beside it its log, can be written."""
    return os.access(Path(path).parent, os.W_OK) and (not Path(path).exists() or os.access(path, os.W_OK))


def is_writable(engine: sa.Engine) -> bool:
    """Whether this process may write the engine's file, and beside it its log."""
    return _is_writable(str(engine.url.database))


def _read(path: str) -> Connection:
    """A connection to a file that cannot be written, without any file beside it.

    Without a log the file holds all there is. With one, whoever works on the file shares its index with us, or else
    what both hold is put together in memory.
    """
    log, index = (os.path.realpath(path) + ending for ending in LOG_ENDINGS)
    if not _size(log):
        return _open(path, "ro&immutable=1")
    if Path(index).exists():
        connection = _open(path, "ro")
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
            with contextlib.closing(_open(copy, "rw")) as source:
                source.backup(connection)
    except (OSError, sqlite3.Error) as error:
        raise StorageError(
            f"a file that cannot be written is read by way of a copy, because its log {Path(log).name} is not empty, "
            f"and {file_url(path)} could not be copied: {error}; make room for it where temporary files go"
        ) from None
    return connection


def note(connection: sa.Connection) -> None:
    """Within a transaction: remember which log the connection uses, and what its file says that it is."""
    held, raw = _held(connection)
    if not held.logs and raw.execute("PRAGMA journal_mode").fetchone()[0] == "wal":
        held.logs = _logs(held.file.path)
    if not held.file.application:
        held.file.application = raw.execute("PRAGMA application_id").fetchone()[0]


def check(connection: sa.Connection) -> None:
    """StorageError, with what the file held saved beside it, where its name leads to another one now, or to none."""
    held, raw = _held(connection)
    file, now = held.file, _identity(held.file.path)
    lost = [name for name, identity in held.logs.items() if _identity(name) != identity]
    if now != file.identity:
        what = _by_name(now)
    elif lost and set(held.logs.values()) - set(_logs(file.path).values()):  # or else their folder was renamed
        what = f"left without {' and '.join(Path(name).name for name in lost)}"
    elif _is_overwritten(file):
        what = _OVERWRITTEN
    else:
        return
    assert file.identity is not None
    raw.stays = now == file.identity
    with _rescuing:
        if file.identity not in _rescued:
            saved = "what it held is lost; go back to a copy" if what == _OVERWRITTEN else _rescue(raw, file.path)
            _rescued[file.identity] = _gone(file.path, what, saved)
            _remove_logs(held, what == _OVERWRITTEN)
    raise StorageError(_rescued[file.identity])


def _logs(path: str) -> dict[str, Identity]:
    """Log and index of a file by their names, as far as they are there; a link has none of its own."""
    names = [os.path.realpath(path) + ending for ending in LOG_ENDINGS]
    return {name: identity for name in names if (identity := _identity(name)) is not None}


def _held(connection: sa.Connection) -> tuple[Held, Connection]:
    raw: Any = connection.connection.dbapi_connection
    held: Held = connection.info["held"]
    return held, raw


def _by_name(now: Identity | None) -> str:
    """What happened to a file whose name leads there now."""
    return "removed" if now is None else "replaced by another file"


def _gone(path: str, what: str, then: str) -> str:
    return f"an SQLite file must stay while it is used, got {file_url(path)}, which was {what}; {then}"


def _is_overwritten(file: OpenFile) -> bool:
    """Whether the file, which was written by somebody since the last look, has another content altogether."""
    try:
        found = Path(file.path).stat()
    except OSError:
        return True
    stamp = (found.st_mtime_ns, found.st_size)
    if stamp == file.stamp or not file.application:
        return False
    try:  # past the log; what closes a file that SQLite holds open, except SQLite, would lose its locks
        with contextlib.closing(_open(file.path, "ro&immutable=1")) as raw:
            application = raw.execute("PRAGMA application_id").fetchone()[0]
    except sqlite3.Error as error:
        return _code(error) in (sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT)
    if found.st_size and application in (0, file.application):
        file.stamp = stamp
        return False
    return True


def _rescue(raw: Connection, path: str) -> str:
    """Save what an open connection still sees of a file that is gone, beside it or else with temporary files."""
    name, reason = f"{Path(path).name}.rescued-{time.strftime('%Y%m%d-%H%M%S')}", ""
    for folder in (Path(path).parent, Path(tempfile.gettempdir())):
        try:
            target = _free_name(folder.resolve(strict=True) / name)
            copy_to(raw, target)
        except (OSError, sqlite3.Error) as error:
            reason = reason or str(error)
        else:
            url = file_url(str(target))
            return f"what it held is saved in {target}: give that its old name, or use {use('storage', url)}"
    return f"what it held could not be saved: {reason}; go back to a copy"


def _free_name(path: Path) -> Path:
    """The path, or else that with a number, of a new empty file."""
    number = 1
    while True:
        name = path if number == 1 else path.with_name(f"{path.name}-{number}")
        try:
            name.touch(mode=0o600, exist_ok=False)
        except FileExistsError:
            number += 1
        else:
            return name


def back_up(
    connection: sa.Connection, target: Path, finish: Callable[[Path], None], report: Callable[[float], None]
) -> None:
    """Copy what a transaction sees into a new file: whole and finished under its name, or not there at all."""
    if target.is_dir():
        raise StorageError(f"a copy must be a file, got the folder {str(target)!r}; name a file in it")
    if os.path.lexists(target):
        raise StorageError(f"a copy must be a new file, got {str(target)!r}, which is there; name another one")
    try:
        new = _free_name(target.with_name(f"{target.name}.new"))
        try:
            copy_to(_held(connection)[1], new, report)
            finish(new)
            _name_finally(new, target)
        finally:
            new.unlink(missing_ok=True)
    except (OSError, sqlite3.Error) as error:
        reason = getattr(error, "strerror", None) or error
        raise StorageError(
            f"a copy must be a new file that can be written, got {str(target)!r}: {reason}; name another place"
        ) from None


def _name_finally(new: Path, target: Path) -> None:
    """Give a file its name, for good, unless somebody has taken it meanwhile."""
    try:
        os.link(new, target)
    except FileExistsError:
        raise
    except OSError:  # a file system without links
        new.rename(target)
    if os.name == "posix":
        folder = os.open(target.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def copy_to(raw: sqlite3.Connection, target: Path, report: Callable[[float], None] = lambda share: None) -> None:
    """Copy what the connection sees into an empty file, for good, and check it; no file is left where that fails.

    Whoever works on the original does not work on the copy.
    """

    def progress(status: int, remaining: int, total: int) -> None:
        report(1 - remaining / max(1, total))

    try:
        with contextlib.closing(sqlite3.connect(target, isolation_level=None)) as copy:
            raw.backup(copy, pages=COPY_PAGES, progress=progress)
            copy.execute("PRAGMA journal_mode=DELETE")
            if (found := copy.execute("PRAGMA quick_check(1)").fetchone()[0]) != "ok":
                raise sqlite3.DatabaseError(found)
            with contextlib.suppress(sqlite3.OperationalError):  # an older schema has no such table
                copy.execute("UPDATE hpo_workers SET stopped = last_seen WHERE stopped IS NULL")
        with target.open("rb+") as file:
            os.fsync(file.fileno())
    except BaseException:
        target.unlink(missing_ok=True)
        raise


def _remove_logs(held: Held, overwritten: bool) -> None:
    """Remove our log beside a file that is not ours: who opens that next would take the log's pages for its own."""
    for name, identity in held.logs.items():
        owner = _identity(name.removesuffix(LOG_ENDINGS[0]).removesuffix(LOG_ENDINGS[1]))
        if _identity(name) == identity and (overwritten or owner != held.file.identity):
            with contextlib.suppress(OSError):
                Path(name).unlink()


def checkpoint(connection: sa.Connection) -> None:
    """Write what the log holds into the file itself, as far as nobody is in the way; it waits for nobody."""
    with contextlib.suppress(sqlite3.OperationalError):
        _held(connection)[1].execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()


def use_write_ahead_log(raw: Any, url: str) -> None:  # noqa: ANN401 - a connection of the driver's
    """Switch the file to its write-ahead log, which it keeps; StorageError where its file system can have none."""
    deadline = time.monotonic() + BUSY_SECONDS
    while raw.execute("PRAGMA journal_mode").fetchone()[0] != "wal":
        try:
            mode = raw.execute("PRAGMA journal_mode=WAL").fetchone()[0]
        except sqlite3.OperationalError as error:
            # SQLite does not wait here while another process does the same.
            if _code(error) not in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED) or time.monotonic() > deadline:
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
    return header_only and _size(path) > 0 and connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"


def kind_of(error: object) -> type[StorageError]:
    """StorageBusyError where another process stood in the way."""
    return StorageBusyError if _code(error) in _AWAY else StorageError


def explanation(url: str, error: object, code: int | None = None) -> str:
    """What SQLite said, with what can be done about it."""
    text = " ".join(str(error).split())
    remedy = _REMEDIES.get(_code(error) if code is None else code, _COMMON)
    return f"the database must be open to reading and writing, got {url}: {text}; {remedy}"


def _code(error: object) -> int:
    """SQLite's number of an error, without its details."""
    return int(getattr(error, "sqlite_errorcode", None) or 0) & 0xFF


def _identity(path: str) -> Identity | None:
    try:
        found = Path(path).stat()
    except OSError:
        return None
    return Identity(found.st_dev, found.st_ino)


def _size(path: str) -> int:
    try:
        return Path(path).stat().st_size
    except OSError:
        return 0
