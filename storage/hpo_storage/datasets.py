"""Data sets, the files as they are, in the database, so that its URL is all that a worker needs."""

import contextlib
import hashlib
import os
import tempfile
from io import BufferedReader
from pathlib import Path

import sqlalchemy as sa

from hpo.errors import DataError, ResourceError, StorageError, do, use
from hpo_storage.database import Database
from hpo_storage.retry import retried
from hpo_storage.tables import CHUNK_BYTES, DATASET_CHUNKS, DATASETS, database_time

MEGABYTES = 256.0
MEGABYTE = 2**20


@retried
def store_dataset(db: Database, path: Path, sha256: str | None = None) -> str:
    """Store a file and return its SHA-256; a content that is there already is not stored again.

    `sha256` is what it had when it was read before. DataError where it has another one now, or is changed while it is
    stored; StorageError where it is larger than 256 MiB (or HPO_DATASET_MEGABYTES).
    """
    with _opened(path) as file:
        size = os.fstat(file.fileno()).st_size
        _check_size(size)
        found = hashlib.file_digest(file, "sha256").hexdigest()
        if sha256 not in (None, found):
            raise changed(path)
        file.seek(0)
        with db.begin_write() as connection:
            if connection.scalar(sa.select(DATASETS.c.sha256).where(DATASETS.c.sha256 == found)):
                return found
            try:
                with connection.begin_nested():
                    connection.execute(DATASETS.insert().values(sha256=found, bytes=size, created=database_time()))
            except sa.exc.IntegrityError:
                return found  # another process has stored it meanwhile
            stored = hashlib.sha256()
            for chunk, content in enumerate(iter(lambda: file.read(CHUNK_BYTES), b"")):
                stored.update(content)
                connection.execute(DATASET_CHUNKS.insert().values(sha256=found, chunk=chunk, content=content))
            if stored.hexdigest() != found:
                raise changed(path)
    return found


def _opened(path: Path) -> BufferedReader:
    try:  # at once, also where a pipe has taken the file's place
        return os.fdopen(os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)), "rb")
    except OSError as error:
        raise changed(path) from error


def changed(path: Path) -> DataError:
    """The error to raise where a file is not what it was when it was read before."""
    return DataError(
        f"a file must stay the same while a study is made of it, {path} was changed meanwhile; "
        f"do the same again, with a copy of the file where something still writes to it"
    )


def fetch_dataset(db: Database, sha256: str, path: Path) -> None:
    """Write the stored file to `path`, which appears when it is whole.

    StorageError where it is not in the database, or its content is not what was stored; ResourceError where it cannot
    be written.
    """
    try:
        _fetch(db, sha256, path)
    except OSError as error:
        raise ResourceError(
            f"a stored data set must be written to a file to be read, {path.parent} does not take it "
            f"({error.strerror or error}); make room for {_bytes(db, sha256) / MEGABYTE:.1f} MiB there, or set the "
            f"variable TMPDIR to a folder that can be written to"
        ) from error


def _fetch(db: Database, sha256: str, path: Path) -> None:
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            for chunk in range(_chunks(db, sha256)):
                file.write(_chunk(db, sha256, chunk))
        if _sha256(Path(name)) != sha256:
            raise StorageError(
                f"a stored data set must have the content it was stored with, got another one for {sha256[:12]} in "
                f"{db.url}; restore the database from a copy"
            )
        Path(name).replace(path)
    finally:
        with contextlib.suppress(FileNotFoundError):
            Path(name).unlink()


@retried
def _bytes(db: Database, sha256: str) -> int:
    with db.begin_read() as connection:
        return connection.scalar(sa.select(DATASETS.c.bytes).where(DATASETS.c.sha256 == sha256)) or 0


@retried
def _chunks(db: Database, sha256: str) -> int:
    count = sa.select(sa.func.count()).select_from(DATASET_CHUNKS).where(DATASET_CHUNKS.c.sha256 == sha256)
    with db.begin_read() as connection:
        if connection.scalar(sa.select(DATASETS.c.sha256).where(DATASETS.c.sha256 == sha256)) is None:
            raise StorageError(
                f"a data set must be in the database to be fetched, got {sha256[:12]}, which {db.url} does not have; "
                f"store it with {do('run')}",
                setting="data",
            )
        return connection.execute(count).scalar_one()


@retried
def _chunk(db: Database, sha256: str, chunk: int) -> bytes:
    query = sa.select(DATASET_CHUNKS.c.content)
    query = query.where(DATASET_CHUNKS.c.sha256 == sha256, DATASET_CHUNKS.c.chunk == chunk)
    with db.begin_read() as connection:
        content = connection.scalar(query)
    if content is None:
        raise StorageError(
            f"a stored data set must have all its pieces, got {sha256[:12]} in {db.url} without piece {chunk}: it was "
            f"deleted meanwhile, or must be restored from a copy"
        )
    return bytes(content)


def _check_size(size: int) -> None:
    limit = _megabytes()
    if size > limit * MEGABYTE:
        raise StorageError(
            f"a data set in the database must have at most {limit:g} MiB, got {size / MEGABYTE:.0f} MiB; "
            f"raise the variable HPO_DATASET_MEGABYTES, or use {use('store_data', False)} with a path for "
            f"{use('data')} that all workers can read",
            setting="data",
        )


def _megabytes() -> float:
    given = os.environ.get("HPO_DATASET_MEGABYTES") or MEGABYTES
    try:
        return float(given)
    except ValueError:
        raise StorageError(f"HPO_DATASET_MEGABYTES must be a number, got {given!r}; use {MEGABYTES:g}") from None


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
