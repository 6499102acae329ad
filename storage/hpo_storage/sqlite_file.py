"""Whether an SQLite file is still the one that was opened, what is saved of it where it is not, and copies of it.

A process holds a file open whatever becomes of its name. So every transaction begins, and ends, with a look at whether
the name still leads to the open file, its log and its index of the log; SQLite itself tells files apart in that way.
"""

import contextlib
import math
import os
import sqlite3
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import sqlalchemy as sa

from hpo.errors import StorageError, StorageLostError, use
from hpo_storage.urls import file_url

BUSY_SECONDS = 60.0
"""How long a transaction waits for another process's lock."""
COPY_PAGES = 1000
"""Copied at once, between two reports of how far a copy is."""
LOG_ENDINGS = ("-wal", "-shm")
_OVERWRITTEN = "overwritten with another file"
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
    settled: float = -math.inf


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


def open_connection(path: str, mode: str) -> Connection:
    """A connection to a file: mode `rw`, `rwc` to make it, `ro`, or `ro&immutable=1` past its log."""
    address = f"{Path(path).absolute().as_uri()}?mode={mode}"
    return sqlite3.connect(address, uri=True, timeout=BUSY_SECONDS, check_same_thread=False, factory=Connection)


@contextmanager
def connecting(file: OpenFile) -> Iterator[bool]:
    """Around the opening of one more connection: whether the file is there; StorageLostError where it is another."""
    before = _identity(file.path)
    if file.identity not in (None, before):
        raise StorageLostError(_rescued.get(file.identity) or _gone(file.path, _by_name(before), "go back to a copy"))
    yield before is not None
    after = _identity(file.path)
    if after is None or before not in (None, after):
        raise StorageLostError(_gone(file.path, _by_name(after), "do the same again"))
    if file.identity is None:
        _rescued.pop(after, None)  # the number of a file that is gone may be another's by now
    file.identity = after


def note(connection: sa.Connection) -> None:
    """Within a transaction: remember which log the connection uses, and what its file says that it is."""
    held, raw = held_by(connection)
    if not held.logs and raw.execute("PRAGMA journal_mode").fetchone()[0] == "wal":
        held.logs = _logs(held.file.path)
    if not held.file.application:
        held.file.application = raw.execute("PRAGMA application_id").fetchone()[0]


def check(connection: sa.Connection) -> None:
    """StorageLostError, with what the file held saved beside it, where its name leads to another one, or to none."""
    held, raw = held_by(connection)
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
    raise StorageLostError(_rescued[file.identity])


def _logs(path: str) -> dict[str, Identity]:
    """Log and index of a file by their names, as far as they are there; a link has none of its own."""
    names = [os.path.realpath(path) + ending for ending in LOG_ENDINGS]
    return {name: identity for name in names if (identity := _identity(name)) is not None}


def held_by(connection: sa.Connection) -> tuple[Held, Connection]:
    """What a connection holds open, and the connection as the driver knows it."""
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
        with contextlib.closing(open_connection(file.path, "ro&immutable=1")) as raw:
            application = raw.execute("PRAGMA application_id").fetchone()[0]
    except sqlite3.Error as error:
        return code_of(error) == sqlite3.SQLITE_NOTADB  # it seems damaged while a log is written into it, too
    if found.st_size and application in (0, file.application):
        file.stamp = stamp
        return False
    return True


def _rescue(raw: Connection, path: str) -> str:
    """Save what an open connection still sees of a file that is gone, beside it or else with temporary files."""
    file, reason = Path(path), ""
    name = f"{file.stem}.rescued-{time.strftime('%Y%m%d-%H%M%S')}{file.suffix}"
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
            copy_to(held_by(connection)[1], new, report)
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


def _identity(path: str) -> Identity | None:
    try:
        found = Path(path).stat()
    except OSError:
        return None
    return Identity(found.st_dev, found.st_ino)


def size_of(path: str) -> int:
    """Of a file, 0 where there is none."""
    try:
        return Path(path).stat().st_size
    except OSError:
        return 0


def code_of(error: object) -> int:
    """SQLite's number of an error, without its details."""
    return int(getattr(error, "sqlite_errorcode", None) or 0) & 0xFF
