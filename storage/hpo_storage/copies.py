"""A copy of an SQLite file, made while it is used."""

from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import sqlalchemy as sa

from hpo.errors import StorageError, do
from hpo_storage import sqlite_file
from hpo_storage.database import Database, connect, holds_tables, now, schema
from hpo_storage.migrations import HEAD
from hpo_storage.slots import abandon
from hpo_storage.tables import SLOTS
from hpo_storage.urls import file_url


def back_up(db: Database, target: Path, report: Callable[[float], None] = lambda share: None) -> None:
    """Copy a database into one new file, complete as it is at this moment. `report` is told the share that is done.

    Trials that run are interrupted in the copy, where nobody works on them. StorageError where there is nothing to
    copy, the copy would overwrite something, or the database is on a server.
    """
    if not db.on_sqlite:
        raise StorageError(
            f"hpo copies SQLite files, got {db.url}; use the server's own program, pg_dump or mariadb-dump"
        )
    if not holds_tables(db):
        raise StorageError(f"there must be a database to copy, got {db.url}; {do('run')} creates it")
    with db.begin_read() as connection:
        connection.execute(sa.text("SELECT count(*) FROM sqlite_schema"))  # from here on it sees one state
        sqlite_file.back_up(connection, target, _let_go, report)
    with closing(connect(file_url(str(target)))) as copy:
        if schema(copy) != schema(db):
            raise StorageError(f"a copy must stay while it is made, got another file in {copy.url}; name another place")


def _let_go(path: Path) -> None:
    """Give back what runs, in a file that nobody works on; one of an older schema stays as it is."""
    with closing(connect(file_url(str(path)))) as db:
        if schema(db) != HEAD:
            return
        with db.begin_write() as connection:
            time = now(connection)
            for slot in connection.execute(sa.select(SLOTS).where(SLOTS.c.state == "claimed")).all():
                abandon(connection, slot, None, time, counts=False)
